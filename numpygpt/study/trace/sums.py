"""Where gradients add up: a value that is used twice changes the loss in two ways, and its gradient is their sum."""

from dataclasses import dataclass

import numpy as np

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


def of_block(backward: Call) -> list[Sum]:
    """Return the sums of a block's backward pass, as far as the pass went."""
    through = {call.function.outer: call.returned for call in backward.calls if not call.ended}
    made = {name: value for runs in backward.lines.values() for values in runs for name, value in values.items()}
    da, dx = made.get("da"), backward.returned
    found = []
    if isinstance(through.get("mlp"), np.ndarray):
        terms = [("dy, past the MLP", backward.arguments["dy"]), ("through the MLP", through["mlp"])]
        found.append(Sum("a takes two paths: past the MLP, and through it", terms, ("da", da)))
    if dx is not None and "self_attention" in through:
        terms = [("da, past attention", da), ("through attention", through["self_attention"])]
        found.append(Sum("x takes two paths: past attention, and through it", terms, ("dx", dx)))
    if dx is not None and "self_attention_at" in through:
        terms = [
            ("through attention", through["self_attention_at"]),
            ("past attention", dx - through["self_attention_at"]),
        ]
        found.append(Sum("the row that is read takes two paths: through attention, and past it", terms, ("dx", dx)))
    return found


def of_token(step, tokens) -> list[Sum]:
    """Return the sum of the embedding's gradients for the first token that occurs more than once."""
    ids = step.arguments["ids"]
    for token in ids:
        places = np.flatnonzero(ids == token)
        if len(places) > 1 and "wte" in step.gradients:
            what = (
                f"the token “{tokens[places[0]]}” occurs {len(places)} times, and each time its row of wte was copied"
            )
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
