"""Where gradients add up: a value that is used twice changes the loss in two ways, and its gradient is their sum."""

from dataclasses import dataclass

import numpy as np

from ...explain.attribution_text import visible
from .recorder import Call


@dataclass(frozen=True)
class Sum:
    """what   the value that is used more than once, and how
    terms  [(where the gradient comes from, gradient)]
    total  (name of the sum, gradient)
    """

    what: str
    terms: list
    total: tuple


def of_middle(backward: Call) -> Sum | None:
    """Return the sum of the gradients of a, a block's first sum; None where the gradient of a was not needed."""
    through, made = _through(backward), _made(backward)
    if "da" not in made:
        return None
    terms = [("dy, past the MLP", backward.arguments["dy"]), ("through the MLP", through["mlp"])]
    return Sum("a takes two paths: past the MLP, and through it", terms, ("da", made["da"]))


def of_input(backward: Call) -> Sum | None:
    """Return the sum of the gradients of x, a block's input; None where the gradient of x was not needed."""
    through, made = _through(backward), _made(backward)
    if "dx" not in made:
        return None
    dx = made["dx"]
    if "self_attention" in through:
        terms = [("da, past attention", made["da"]), ("through attention", through["self_attention"])]
        return Sum("x takes two paths: past attention, and through it", terms, ("dx", dx))
    attention = through["self_attention_at"]
    terms = [("through attention", attention), ("past attention", dx - attention)]
    return Sum("the row that is read takes two paths: through attention, and past it", terms, ("dx", dx))


def _through(backward):
    """Return {layer: the gradient that came back through it} of a block's backward pass."""
    return {call.function.outer: call.returned for call in backward.calls}


def _made(backward):
    return {name: value for runs in backward.lines.values() for values in runs for name, value in values.items()}


def of_token(step, tokens) -> list[Sum]:
    """Return the sum of the embedding's gradients for the first token that occurs more than once."""
    ids = step.arguments["ids"]
    for token in ids:
        places = np.flatnonzero(ids == token)
        if len(places) > 1 and "wte" in step.gradients:
            text = visible(tokens[places[0]])
            what = f"the token “{text}” occurs {len(places)} times, and each time its row of wte was copied"
            terms = [(f"from position {place}", step.dy[place]) for place in places]
            return [Sum(what, terms, (f"dwte[{token}]", step.gradients["wte"][token]))]
    return []


def of_tied(sums, ids) -> list[Sum]:
    """Return the sums of parameters that two operations use, for the rows of these ids. sums is a Trace's."""
    return [
        Sum(
            f"{name} is used twice, as output layer and as embedding. These are its rows for the tokens of this text",
            [("from the output layer", before[ids]), ("from the embedding", plus[ids])],
            (f"d {name}", after[ids]),
        )
        for name, before, plus, after in sums
    ]
