"""Where gradients add up: what is used twice moves the loss in two ways, and its gradient is the sum."""

from dataclasses import dataclass

import numpy as np

from .recorder import Call


@dataclass(frozen=True)
class Sum:
    """what   is used more than once, and how
    terms  [(where it comes from, gradient)]
    total  (its name, gradient)
    """

    what: str
    terms: list
    total: tuple


def of_block(backward: Call) -> list[Sum]:
    """Return the two sums of a block's backward, where something below them learns."""
    through = {call.function.name: call.returned for call in backward.calls if isinstance(call.returned, np.ndarray)}
    made = {name: value for runs in backward.lines.values() for values in runs for name, value in values.items()}
    da, dx = made.get("da"), backward.returned
    found = []
    if "mlp" in through:
        terms = [("dy, past it", backward.arguments["dy"]), ("through the MLP", through["mlp"])]
        found.append(Sum("a went two ways: past the MLP, and through it", terms, ("da", da)))
    if "self_attention" in through:
        terms = [("da, past it", da), ("through attention", through["self_attention"])]
        found.append(Sum("x went two ways: past attention, and through it", terms, ("dx", dx)))
    if "self_attention_at" in through:
        terms = [("through attention", through["self_attention_at"]), ("past it", dx - through["self_attention_at"])]
        found.append(Sum("the row that is read went two ways: through attention, and past it", terms, ("dx", dx)))
    return found


def of_token(step, tokens) -> list[Sum]:
    """Of the embedding's step: the first token that occurs more than once."""
    ids = step.arguments["ids"]
    for token in ids:
        places = np.flatnonzero(ids == token)
        if len(places) > 1 and "wte" in step.gradients:
            what = f"the token “{tokens[places[0]]}” occurs {len(places)} times: each time its row of wte was copied"
            terms = [(f"from place {place}", step.dy[place]) for place in places]
            return [Sum(what, terms, (f"dwte[{token}]", step.gradients["wte"][token]))]
    return []


def of_tied(sums, ids) -> list[Sum]:
    """Of a Trace's sums: a parameter that two operations use, in the rows of these ids."""
    return [
        Sum(
            f"{name} is used twice, as output layer and as embedding; here its rows for this text's tokens",
            [("from the output layer", before[ids]), ("from the embedding", plus[ids])],
            (f"d {name}", after[ids]),
        )
        for name, before, plus, after in sums
    ]
