"""A tour of a trace: about twelve stops on the way back, each with a question and the numbers of this message."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...explain.attribution_text import visible

FLAT = 0.05  # below this slope, hardly any gradient passes gelu
LEFT = -1.5  # left of its lowest point, gelu comes near 0


@dataclass(frozen=True)
class Stop:
    """A stop: a step's backward half (or its forward half), the names to look at, a text, a question, its answer."""

    step: str
    look: tuple[str, ...]
    title: str
    text: str
    question: str
    answer: str
    back: bool = True


def tour(trace, update) -> list[Stop]:
    """Return the stops that this trace has, from the loss back. A stop whose gradient is not computed is left out."""
    trace = replace(trace, tokens=list(map(visible, trace.tokens)))  # as the page writes them
    stops: list[Callable] = [_loss, _next_token, _head, _layernorm, _row, _mean, _mlp, _sums]
    stops += [_values, _weights, _scores, _queries, _frozen, _embedding]
    found = [found for stop in stops if (found := stop(trace))]
    names = [step.name for step in trace.steps]
    return sorted(found, key=lambda stop: -names.index(stop.step)) + [_update(update)]


# ---- helpers ----
def _step(trace, name, gradient):
    """Return the step of this name if the gradient of this argument was computed, else None."""
    step = next((step for step in trace.steps if step.name == name), None)
    return step if step and gradient in step.gradients else None


def _block(trace):
    return f"h.{trace.config.n_layer - 1}"


def _n(number):
    """Return a number with three digits."""
    return f"{number:.3g}".replace("-", "−")


def _in(number):
    """Return the number as part of a product or a difference: a negative one in brackets."""
    return f"({_n(number)})" if number < 0 else _n(number)


def _token(trace, row):
    return f"row {row} (“{trace.tokens[row]}”)"


def _has(rows):
    """Return the numbers of the rows that are not all 0."""
    return np.flatnonzero(np.abs(rows).reshape(len(rows), -1).max(axis=1))


def _steepest(rows):
    """Return the number of the row with the largest gradient."""
    return int(np.abs(rows).reshape(len(rows), -1).sum(axis=1).argmax())


# ---- the answer ----
def _loss(trace):
    step = _step(trace, "cross_entropy", "logits")
    if step is None:
        return None
    logits, dlogits, true = step["logits"][0], step["dlogits"][0], trace.labels.index(trace.label)
    p = dlogits + (np.arange(len(dlogits)) == true)
    every = ", ".join(f"{label} {_n(z)}" for label, z in zip(trace.labels, logits))
    likely = ", ".join(f"{label} {_n(x)}" for label, x in zip(trace.labels, p))
    return Stop(
        "cross_entropy",
        ("logits", "loss", "dlogits"),
        "The loss: why p − y?",
        f"The logits are {every}. Softmax makes probabilities of them: {likely}. The true label is {trace.label}, so "
        f"the loss is −log {_n(p[true])} = {_n(trace.loss)}. The way back begins with dlogits.",
        f"dlogits is {', '.join(map(_n, dlogits))}. Where do these numbers come from, and why do they sum to 0?",
        f"They are p − y: the probabilities, minus 1 at the true label. At {trace.label}, {_n(p[true])} − 1 = "
        f"{_n(dlogits[true])}. The logarithm cancels softmax's exp: the loss is log(sum of exp(logits)) minus the "
        "true logit. The first part has the derivative p, the second −1. The probabilities sum to 1, so p − y sums "
        "to 0: adding one number to all logits does not change the loss.",
    )


def _next_token(trace):
    step = _step(trace, "output_loss", "x")
    if step is None:
        return None
    dlogits, count = step["dlogits"], len(step["dlogits"])
    true = step.settings["targets"][0]
    p = dlogits[0] * count + (np.arange(dlogits.shape[1]) == true)
    return Stop(
        "output_loss",
        ("logits", "dlogits", "dx"),
        "The loss: why p − y?",
        f"Each of the {count} rows predicts the next token. After “{trace.tokens[0]}” comes “{trace.tokens[1]}”, "
        f"which has the probability {_n(p[true])}. The loss is the mean of −log p over the rows, {_n(trace.loss)}.",
        f"In row 0, dlogits is {_n(dlogits[0, true])} at the true token and positive at all {dlogits.shape[1] - 1} "
        "others. Where do these numbers come from, and why is a row's sum 0?",
        f"They are (p − y) / {count}: the probabilities, minus 1 at the true token, divided by the number of rows, "
        f"because the loss is a mean. At the true token, ({_n(p[true])} − 1) / {count} = {_n(dlogits[0, true])}. The "
        "probabilities sum to 1, so the row sums to 0.",
    )


def _head(trace):
    step = _step(trace, "head", "weight")
    if step is None:
        return None
    x, dy, dweight = step["x"], step["dy"], step["dweight"]
    i, (first, second) = int(np.abs(x[0]).argmax()), trace.labels[:2]
    return Stop(
        "head",
        ("x", "dy", "dweight"),
        "The head: a product passes its factors on",
        f"The head multiplies the row that is read, {x.shape[1]} numbers, with a column of weights for each label. "
        f"dy is dlogits, which you have just seen: {', '.join(map(_n, dy[0]))}.",
        f"dweight has {dweight.shape[0]} × {dweight.shape[1]} numbers. In its row {i} stand {_n(dweight[i, 0])} "
        f"({first}) and {_n(dweight[i, 1])} ({second}). How can you compute them from x and dy?",
        f"dweight = x.T @ dy, and x has one row: x[0, {i}] = {_n(x[0, i])}, times {_n(dy[0, 0])} and times "
        f"{_n(dy[0, 1])}. In a product, the gradient of a factor is the other factor times dy. So a weight learns "
        "fast where its input was large.",
    )


def _row(trace):
    step = next((step for step in trace.steps if step.kind == "take_rows" and step.gradients), None)
    if step is None:
        return None
    (row,), count = step["rows"], len(step["dx"])
    below = _step(trace, f"{_block(trace)}.ln_1", "x")
    spread = (
        f" They do further down, through attention: at the bottom of the last block, {len(_has(below['dx']))} of "
        f"{count} rows have a gradient."
        if below
        else ""
    )
    return Stop(
        step.name,
        ("rows", "dx"),
        "The row that is read: why does one row alone have a gradient?",
        f"The classifier reads {_token(trace, row)} of the {count} rows. dx has a row for each token again.",
        f"{count - 1} of the {count} rows of dx are 0. Do the other tokens learn nothing from this message?",
        "Here, nothing: changing another row at this place does not change the loss, so its gradient is truly 0."
        + spread
        + " There, the row that is read took something of the other rows, and the gradient goes back to them.",
    )


def _mean(trace):
    step = _step(trace, "mean_rows", "x")
    if step is None:
        return None
    count, j = len(step["dx"]), int(np.abs(step["dy"][0]).argmax())
    return Stop(
        "mean_rows",
        ("dy", "dx"),
        "The mean of the rows: why do all rows have the same gradient?",
        f"The classifier reads the mean of the {count} rows. dy is one row; in column {j} it has "
        f"{_n(step['dy'][0, j])}.",
        f"Every row of dx has {_n(step['dx'][0, j])} in column {j}. Why the same, and why so small?",
        f"Each row enters the mean with the weight 1/{count}. So each receives dy / {count}: {_n(step['dy'][0, j])} "
        f"/ {count} = {_n(step['dx'][0, j])}.",
    )


def _layernorm(trace):
    step = _step(trace, "ln_f", "x")
    if step is None:
        return None
    row = _steepest(step["dx"])
    x, dx, xhat = (step[name][row] for name in ("x", "dx", "xhat"))
    return Stop(
        "ln_f",
        ("xhat", "g", "dx"),
        "The final layernorm: why do the rows of dx sum to 0?",
        f"Layernorm makes mean 0 and variance 1 of each row. The row that came in had the mean {_n(x.mean())} and "
        f"the spread {_n(x.std())}.",
        f"The largest number in this row of dx is {_n(np.abs(dx).max())}, but the row sums to {_n(dx.sum())}: 0 but "
        "for rounding. What would happen to the loss if all numbers of x grew equally?",
        "Nothing: the mean grows too, and is subtracted. A direction that changes nothing has the gradient 0, so dx "
        "has no part in the direction (1, 1, …, 1). That is what the term − mean(g) does. Scaling the row changes "
        f"nothing either, except through epsilon: the sum of dx * xhat is {_n((dx * xhat).sum())}. That is what the "
        "third term does.",
    )


# ---- the last block ----
def _mlp(trace):
    step = _step(trace, f"{_block(trace)}.gelu", "x")
    if step is None:
        return None
    row = _steepest(step["dy"])
    x, dy, dx = (step[name][row] for name in ("x", "dy", "dx"))
    slope = (1 + step["t"][row]) / 2 + x / 2 * (1 - step["t"][row] ** 2) * step["du_dx"][row]
    flat = np.abs(slope) < FLAT
    left = flat & (x < LEFT)
    i = int(np.where(left if left.any() else flat, np.abs(dy), -1).argmax())
    where = "far to the left the curve is flat" if x[i] < LEFT else "at its lowest point the curve is flat"
    return Stop(
        step.name,
        ("x", "du_dx", "dx"),
        "The last block's MLP: where does GELU stop the gradient?",
        f"The MLP has {len(x)} hidden numbers for each row. dx is dy times the slope of GELU's curve at x, number by "
        "number. The drawing below shows the curve, its slope, and the numbers of this message.",
        f"At {flat.sum()} of the {len(x)} numbers of row {row}, the slope is smaller than {FLAT}. Number {i} has dy "
        f"= {_n(dy[i])}, but dx = {_n(dx[i])}. What is its x?",
        f"x = {_n(x[i])}: {where}, so moving x hardly changes y. The slope "
        f"there is {_n(slope[i])}, and {_n(dy[i])} × {_in(slope[i])} = {_n(dx[i])}. For this message these hidden "
        "numbers are switched off, and their weights learn almost nothing from it.",
    )


def _sums(trace):
    step = next(step for step in trace.steps if step.name == f"{_block(trace)}.sum_1")
    if not step.sums:
        return None
    (_, past), (_, through) = step.sums[0].terms
    total, row = step.sums[0].total[1], _steepest(step.sums[0].total[1])
    i = int(np.abs(total[row]).argmax())
    sizes = [_n(np.linalg.norm(part)) for part in (past, through, total)]
    return Stop(
        step.name,
        ("dy", "da"),
        "The two sums: why does the gradient not fade?",
        "a is used twice: the MLP reads it, and the second sum adds it. da is the sum of both gradients. As lengths: "
        f"past the MLP {sizes[0]}, through the MLP {sizes[1]}, together {sizes[2]}.",
        f"In row {row}, column {i}, da is {_n(total[row, i])}. Which part of it has passed no weight at all?",
        f"{_n(past[row, i])} of it came past the MLP, unchanged, along the residual stream; {_n(through[row, i])} "
        "came through the MLP's weights. A sum passes its gradient to both its terms as it is. So a part of the "
        "gradient reaches every block unchanged, however many blocks are above it.",
    )


# ---- attention ----
def _attention(trace):
    """Return the last block's attention over all rows, or None."""
    return _step(trace, f"{_block(trace)}.attention", "qkv")


def _any_attention(trace):
    """Return (step, weights, dweights, dscores, the name of a row) of the head, and of its row of scores, with the
    largest gradient.

    Where the last block is folded, a row of scores belongs to a head, because there is only one query.
    """
    step = _attention(trace)
    if step:
        h = _steepest(step["d_scores"][0])
        row = _steepest(step["d_scores"][0, h])
        parts = (step[name][0, h, row] for name in ("weights", "dweights", "d_scores"))
        return step, *parts, f"in head {h}, {_token(trace, row)}", row
    step = _step(trace, f"{_block(trace)}.attn.c_attn", "x")
    if step is None or step.kind != "query_attention":
        return None
    h = _steepest(step["d_scores"])
    return step, *(step[name][h] for name in ("weights", "dweights", "d_scores")), f"head {h}", len(trace.ids) - 1


def _values(trace):
    step = _attention(trace)
    if step is None:
        return None
    dattended, weights, dv = step["dattended"][0], step["weights"][0], step["dv"][0]
    rows = _has(dattended.swapaxes(0, 1))
    h = _steepest(dattended)
    row = _steepest(dattended[h])
    earlier = weights[h, row, :row] if row else weights[h, row, :1]
    j = int(earlier.argmax())
    c = int(np.abs(dattended[h, row]).argmax())
    others = "" if len(rows) == 1 else f" The other rows that see it add their share: dv is {_n(dv[h, j, c])} in all."
    return Stop(
        step.name,
        ("weights", "dattended", "dv"),
        "Attention: from dy to the values",
        "Each row of the result is a mean of the values, weighted by a row of the weights. dy has a gradient in "
        f"{len(rows)} of {dattended.shape[1]} rows. In head {h}, {_token(trace, row)} takes {_n(weights[h, row, j])} "
        f"of the value of {_token(trace, j)}.",
        f"In row {row}, column {c}, dy (dattended, head {h}) is {_n(dattended[h, row, c])}. How much of it does the "
        f"value of “{trace.tokens[j]}” receive?",
        f"{_n(weights[h, row, j])} × {_in(dattended[h, row, c])} = {_n(weights[h, row, j] * dattended[h, row, c])}: "
        "the share that it gave. Going back, the same weights are used, column by column: dv = weights.T @ "
        f"dy.{others}",
    )


def _weights(trace):
    found = _any_attention(trace)
    if found is None:
        return None
    step, weights, dweights, _, name, last = found
    j = int(np.abs(dweights[: last + 1]).argmax())
    grows, size = dweights[j] > 0, _n(abs(dweights[j]))
    return Stop(
        step.name,
        ("v", "dweights"),
        "Attention: from dy to the weights",
        "weights[i, j] multiplies value j in row i. So its gradient is the product of dy[i] and value j: dweights = "
        f"dy @ v.T. Look at one row: {name}.",
        f"The largest entry of that row of dweights is {_n(dweights[j])}, for “{trace.tokens[j]}”. Would the loss "
        "grow or fall if the row took more of this token's value, and can it?",
        f"It would {'grow' if grows else 'fall'}, by {size} for each 1 of weight. But the weights of a row sum to 1, "
        f"so this weight, now {_n(weights[j])}, can grow only if others shrink. That is softmax's part: the next "
        "stop.",
    )


def _scores(trace):
    found = _any_attention(trace)
    if found is None:
        return None
    step, weights, dweights, dscores, name, _ = found
    j, mean = int(np.abs(dscores).argmax()), float((weights * dweights).sum())
    return Stop(
        step.name,
        ("weights", "d_scores", "dx"),
        "Attention: why does each row of dscores sum to 0?",
        f"Softmax turns scores into weights. In the row of the last stop ({name}), the mean of dweights, weighted by "
        f"the weights, is {_n(mean)}. dscores = weights * (dweights − mean).",
        f"The largest entry of the row is {_n(dscores[j])}, for “{trace.tokens[j]}”; the row sums to "
        f"{_n(dscores.sum())}. Why 0, and what does the sign say?",
        "Adding one number to all scores of a row does not change its weights, so the gradient has no part in that "
        f"direction. Here: {_n(weights[j])} × ({_n(dweights[j])} − {_in(mean)}) = {_n(dscores[j])}. "
        + (
            "It is positive: more attention to this token raises the loss more than the row's mean does. "
            if dscores[j] > 0
            else "It is negative: more attention to this token lowers the loss, compared with the row's mean. "
        )
        + "A step against the gradient moves attention from positive entries to negative ones.",
    )


def _queries(trace):
    step = _attention(trace)
    if step is None:
        return None
    h = _steepest(step["d_scores"][0])
    asking, asked = (_has(step[name][0].swapaxes(0, 1)) for name in ("dq", "dk"))
    row = _steepest(step["dq"][0, h])
    rows, question = step["dq"].shape[2], "Why not in the same ones?"
    if len(asking) == 1:
        why = (
            "Only the query of the row that is read changes the loss. But it was compared with every key, so each of "
            "these keys receives a gradient."
        )
    elif len(asking) < len(asked):
        why = (
            "Row 0 sees itself alone: its one weight is 1, whatever its query is, so its query has the gradient 0. Its "
            "key is compared with the queries of later rows, too."
        )
    else:
        question = "Where does the gradient of one key come from?"
        why = "A key is compared with the query of every row that sees it. Its gradient is a sum over these rows."
    key = int(np.abs(step["d_scores"][0, h, row]).argmax())
    return Stop(
        step.name,
        ("dq", "dk", "dqkv"),
        "Attention: from the scores to queries and keys",
        "A score is the product of a query and a key, divided by sqrt(d). So each receives the other, times dscores: "
        "dq = dscores @ k / sqrt(d), and dk = dscores.T @ q / sqrt(d).",
        f"dq has a gradient in {len(asking)} of {rows} rows, dk in {len(asked)}. {question}",
        f"{why} For example in head {h}: dscores[{row}, {key}] = {_n(step['d_scores'][0, h, row, key])} / "
        f"{_n(step['sqrt_d'])} times the query of {_token(trace, row)} goes to the key of {_token(trace, key)}.",
    )


# ---- the end of the way back ----
def _frozen(trace):
    """Return the stop at which backpropagation ends, if it is not the embedding."""
    last = next((step for step in trace.steps if step.ends), None)
    if last is None or last.kind == "embedding":
        return None
    below = [step for step in trace.steps[: trace.steps.index(last)] if step.op]
    return Stop(
        last.name,
        (),
        "Where the way back ends",
        f"{len(trace.params) - len(trace.trainable)} of the {len(trace.params)} parameter arrays are frozen. The "
        f"gradient functions of {last.name} that are dimmed here were not called.",
        f"The {len(below)} operations below this one have no gradient at all. Is it 0?",
        "No: it was never computed, and the arrays that it would need were not kept. Changing these parameters would "
        "change the loss, but training does not need to know by how much. This is why training the last block alone "
        "is fast.",
    )


def _embedding(trace):
    step = _step(trace, "embedding", "wte")
    if step is None:
        return None
    dwte, ids, dy = step["dwte"], step.arguments["ids"], step.dy
    used = np.unique(ids)
    title, end = "The embedding: where the message was looked up", "dwte"
    others = len(dwte) - len(used)
    elsewhere = " The output layer gives them a gradient, because it is the same table." if trace.label is None else ""
    twice = next((token for token in ids if (ids == token).sum() > 1), None)
    if twice is None:
        return Stop(
            "embedding",
            ("ids", end),
            title,
            f"Each token copied its row of wte. Of the {len(dwte)} rows of wte, {len(used)} were copied.",
            f"How many of the {len(dwte)} rows of dwte are 0 here, and why is there no gradient of the token ids?",
            f"{others}: looking up one token uses no other token's row.{elsewhere} The ids are whole numbers, which "
            "cannot move a little; the way back ends at the table.",
        )
    places = np.flatnonzero(ids == twice)
    text, c = trace.tokens[places[0]], int(np.abs(dwte[twice]).argmax())
    terms = [_n(dy[place, c]) for place in places]
    return Stop(
        "embedding",
        ("ids", end),
        title,
        f"Each token copied its row of wte. “{text}” occurs {len(places)} times, at positions "
        f"{', '.join(map(str, places))}, and copied the same row each time.",
        f"In column {c}, the gradients at these places are {' and '.join(terms)}. What does row {twice} of dwte "
        "receive?",
        f"Their sum: {' + '.join(terms)} = {_n(dwte[twice, c])}. The row changed the loss once through each place. "
        f"The other {others} rows of wte, of tokens that are not in the message, receive 0 here.{elsewhere}",
    )


def _update(update):
    gradient, change = np.abs(update.gradient), np.abs(update.new - update.old)
    some = gradient > 0
    return Stop(
        "update",
        ("g", "p"),
        "The update: how far does one step go?",
        f"AdamW changes every trainable number against its gradient. In {update.name} the sizes of the gradients "
        f"reach from {_n(gradient[some].min())} to {_n(gradient.max())}. The learning rate is {_n(update.lr)}.",
        f"The changes reach from {_n(change[some].min())} to {_n(change[some].max())}. Why are they almost equal?",
        "In the first step m and v contain this one gradient, so m / sqrt(v) is g / |g|: its sign. Each number moves "
        "by about the learning rate; weight decay and eps make the small difference. Only later steps, when "
        f"gradients agree or disagree, tell the numbers apart. This step moves the loss from {_n(update.before)} to "
        f"{_n(update.after)}.",
        back=False,
    )
