"""What the trace says about an operation: what its forward pass computes, what its backward pass computes, and, where
the backward pass needs more explanation, why."""

import numpy as np

ATTENTION = (
    "dv = weights.T @ dy: row i of the result contains weights[i, j] times value j. So value j receives "
    "weights[i, j] * dy[i] from every row i that attends to it. These weights are a column, and so the matrix is "
    "transposed.",
    "dweights = dy @ v.T: weights[i, j] multiplies value j in row i. Its gradient is the product of dy[i] and value j: "
    "how much the loss would grow if row i took more of value j.",
    "dscores, a row: the weights of a row sum to 1, so one can grow only if others shrink. Softmax subtracts the row's "
    "mean of dweights, weighted by the weights. An entry above 0 says that more attention to this token raises the "
    "loss more than the row's mean does. A step against the gradient moves attention from such tokens to the others.",
    "Each row of dscores sums to 0, because adding one number to all scores of a row does not change its weights. A "
    "masked score has the weight 0, and so the gradient 0.",
    "dq = dscores @ k / sqrt(d): a query meets every key of its row of scores. Its gradient is the sum of these keys, "
    "each times its entry of dscores.",
    "dk = dscores.T @ q / sqrt(d): a key meets the query of every row that sees it, down a column of scores. Its "
    "gradient is the sum of these queries, each times its entry of dscores.",
)

WORDS = {
    "embedding": (
        "Each token looks up its row of the table wte, and each position looks up its row of wpe. A token's row is the "
        "sum of both.",
        "Row n of x was copied from the tables, so its gradient goes to the table rows it was copied from. A token "
        "that occurs twice receives the sum of both gradients.",
        (
            "dwte: each place in the message that has token i adds its row of the gradient to row i. A loop does this, "
            "because sums[numbers] += dx would add only one of several equal numbers.",
            "dwpe: every position occurs once in a message, so its row receives one row of the gradient.",
            "The rows of tokens that the message does not contain receive a true 0: changing them does not change the "
            "loss.",
        ),
    ),
    "layernorm": (
        "Each row is centred (mean 0) and scaled (variance 1). Then each column is multiplied by a gain and shifted by "
        "a bias; both are learned. One number of x therefore changes its whole row: directly, through the row's mean, "
        "and through the row's spread.",
        "One number of x changes the loss in three ways, so its gradient has three terms. All three are multiplied by "
        "rstd, the scale of the row.",
        (
            "g: the number's own entry of xhat changes.",
            "minus mean(g): the row's mean changes by 1/D as much, and is subtracted from every entry of the row.",
            "minus xhat * mean(g * xhat): the row's spread changes by xhat/D (relative to the spread), and every entry "
            "of the row is divided by the spread.",
            "You can check this in the numbers. Shifting or scaling a whole row does not change y (except through "
            "epsilon), so each row of dx has mean 0, and so does each row of dx * xhat.",
        ),
    ),
    "linear": (
        "Each output is the sum of all numbers of the row, each times a weight, plus a bias.",
        "In a product, the gradient of each factor contains the other factor: dx is dy times the weights, and dweight "
        "is x times dy, summed over all rows, because every row used the same weights.",
        (
            "dx = dy @ weight.T: x[n, i] is used in every output of its row, times weight[i, o]. So it collects "
            "dy[n, o] * weight[i, o] over the outputs o.",
            "dweight = x.T @ dy: weight[i, o] is used in every row, times x[n, i]. So it collects x[n, i] * dy[n, o] "
            "over the rows n.",
            "dbias: bias[o] is added to output o of every row, with the factor 1. So it collects dy[n, o] over the "
            "rows.",
            "The shapes leave no other order: dx must have the shape of x, and dweight that of weight.",
        ),
    ),
    "attention": (
        "In each head, a row's query is compared with the keys of its own row and of earlier rows. Softmax turns the "
        "scores into weights. The result is the weighted mean of the values.",
        "The gradient passes through two products and a softmax in reverse order: from dy to the values and the "
        "weights, from the weights through softmax to the scores, and from the scores to the queries and keys.",
        (
            *ATTENTION,
            "Heads do not mix here. split_heads and merge_heads only move numbers, so their gradients do too.",
        ),
    ),
    "dot_product_attention": (
        "Each query is compared with every key. Softmax turns the scores into weights. The result is the weighted mean "
        "of the values.",
        "Each product passes a gradient to both its factors. The queries and the keys share the gradient of the "
        "scores, which is therefore computed once.",
        ATTENTION,
    ),
    "query_attention": (
        "Attention for one row of the message. With a single query, keys and values need not be computed for all rows: "
        "the key's weights are folded into the query, and the value's weights are applied after the weighted mean.",
        "The gradients equal those of ordinary attention and take less work. The gradient of the one query flows back "
        "to all rows that it attended to.",
        (
            "dz, dr, dq: the way back to the one query, through the value's weights, attention, and the key's weights.",
            "dx: in attention each row is a key and a value, so it receives two gradients. The row that is read is "
            "also the query, and receives a third one.",
            "dweight: the query's part comes from the row that is read, the key's part from the query, the value's "
            "part from z, the weighted mean of the rows.",
            "dbias: the key's part is 0. It adds the same number to every score of the row, and softmax does not see "
            "that.",
            *ATTENTION[2:4],
        ),
    ),
    "gelu": (
        "Each number is treated by itself: large positive numbers pass unchanged, large negative numbers become 0, and "
        "a smooth curve connects the two.",
        "Each number is again treated by itself: dy is multiplied by the slope of that curve at x, which the product "
        "rule gives.",
        (
            "(1 + t)/2: x grows in the factor x/2, while 1 + t stays.",
            "x/2 (1 - t^2) du_dx: 1 + t grows, while x/2 stays. 1 - t^2 is the slope of tanh, and du_dx that of u.",
            "The slope is near 1 for large x, so the gradient passes. It is near 0 below -3, so the gradient ends "
            "there. Between -3 and -0.75 the slope is slightly negative, at -1.42 as low as -0.13. There a larger x "
            "gives a smaller y.",
        ),
    ),
    "softmax": (
        "exp makes every number positive. Dividing by the row's sum makes the numbers weights that sum to 1.",
        "Every weight also depends on the row's sum. Raising all numbers of a row equally changes nothing, so that "
        "part of the gradient is subtracted.",
        (
            "y * dy: the number's own weight grows with the number, in proportion to the weight itself.",
            "minus y * sum(dy * y): the row's sum grows too, and every weight of the row is divided by it. "
            "sum(dy * y) is the mean of the row's dy, weighted by the weights.",
            "So only the difference from that mean counts, and each row of dx sums to 0.",
            "A weight near 0 has a gradient near 0: its number would have to grow a lot before the weight does. If one "
            "weight is near 1, the gradient of the whole row is near 0.",
        ),
    ),
    "take_rows": (
        "The classifier reads one row of each message. The other rows were used inside attention.",
        "The row that was read receives the gradient. The other rows receive a true 0: changing them here does not "
        "change the loss.",
        (
            "Other rows matter in the attention of the blocks below: the row that is read takes values from them. "
            "There its gradient reaches them.",
        ),
    ),
    "mean_rows": (
        "The rows of a message are averaged into one row.",
        "Each of the T rows has weight 1/T, so it receives dy / T.",
        ("Every row of a message receives the same gradient. The longer the message, the smaller each row's part.",),
    ),
    "cross_entropy": (
        "The loss is minus the logarithm of the probability that softmax gives the true label: near 0 if the model was "
        "certain and right, large if it was wrong.",
        "Logarithm and exp cancel: the gradient is the probabilities, minus 1 at the true label. A step against it "
        "raises the true label's logit and lowers the others.",
        (
            "log(sum of exp(logits)) grows with logit i at the rate of its probability p[i]. That is the first term.",
            "The true label's logit is subtracted from it, at the rate 1. That is the second term, -1 at the true "
            "label.",
            "So the true label's entry is p - 1, and every other entry is its p. They sum to 0, because adding one "
            "number to all logits does not change the probabilities.",
            "The gradient is large where the model is wrong, and near 0 where it is certain and right. No entry is "
            "larger than 1, however large the loss is.",
            "The loss is a mean over B rows, so each row's gradient is divided by B.",
        ),
    ),
    "output_loss": (
        "Each row is multiplied with every token's embedding, which gives the logits of the next token. The loss is "
        "the mean cross-entropy of these logits.",
        "The gradients are those of a linear layer without a bias. wte is used here and in the embedding, so its "
        "gradient is a sum of two.",
        (
            "dlogits, a row: the probability of each token, minus 1 at the token that follows. See cross_entropy.",
            "dx = dlogits @ wte: the embeddings of all tokens, each times its entry of dlogits. A step against it "
            "moves the row towards the embedding of the token that follows, and away from other likely tokens.",
            "dwte = dlogits.T @ x: unlike in the embedding, every token's row receives a gradient, because every token "
            "had a probability.",
        ),
    ),
    "sum_1": (
        "a = x + attended: the output of attention is added to x. The line x, a, y that runs past all layers is called "
        "the residual stream. Each layer reads it and adds to it.",
        "a is used twice: ln_2 reads it, and the second sum adds it. So its gradient has two terms: dy, which comes "
        "past the MLP, and the gradient that comes through the MLP. The sum then passes da unchanged to both its "
        "terms, x and attended.",
    ),
    "sum_2": (
        "y = a + fed: the output of the MLP is added to a. y is the output of the block.",
        "A sum passes its gradient unchanged to both its terms: dy goes to a, past the MLP, and to fed, through the "
        "MLP. Where the next block follows, dy has two terms itself, because that block uses y twice.",
    ),
    "residual": (
        "A block in small: a = x + attended and y = a + fed, where attended and fed come out of simple layers.",
        "x and a take two paths each, past a layer and through it. The gradients of the two paths are added.",
        (
            "da: dy comes past the second layer unchanged, and dinner2 @ weight2.T comes through it.",
            "dx: da comes past the first layer unchanged, and dinner1 @ weight1.T comes through it.",
            "Past the layers the gradient is not multiplied by anything. It reaches the lowest block of a deep model "
            "as it was at the top.",
        ),
    ),
    "freezing": (
        "Two layers with tanh between them. Here x and weight2 are frozen, and weight1, bias1 and bias2 learn.",
        "Only the gradient functions that somebody needs are called. A frozen parameter's own function is not called.",
        (
            "weight2 is frozen, so its own gradient is not computed. But the gradient passes through it to weight1: "
            "dh = dy @ weight2.T is needed.",
            "x is frozen, too, and nothing is below it. So dx is not computed, which saves a product of matrices.",
            "Arrays that only those functions use are freed as soon as the forward pass is over.",
        ),
    ),
    "tokens": (
        "The message is split into tokens from the model's vocabulary. Each token is a whole number.",
        "A whole number has no gradient: you cannot move it a little. Backpropagation ends at the tables in which the "
        "numbers were looked up.",
    ),
    "AdamW": (
        "AdamW changes every trainable number a little, against its gradient. It divides by the typical size of the "
        "number's gradients, so that all numbers move by similar amounts.",
        "In the first step, m and v contain only this one gradient. Each number therefore changes by about the "
        "learning rate, whatever the size of its gradient.",
        (
            "m is a sum of the gradients of all steps so far, in which older ones fade (beta1 = 0.9 a step). Gradients "
            "that agree add up, and gradients that change their sign cancel.",
            "v is such a sum of their squares, and fades more slowly (beta2 = 0.999). Its root is the typical size of "
            "the number's gradients. m divided by it has no unit: a gradient that is 1000 times larger gives the same "
            "step.",
            "m and v start at 0, and the weights of t gradients sum to (1 - beta^t) / (1 - beta). Dividing by that sum "
            "makes them means from the first step on. The code does this with one factor in `rate`, which saves a "
            "pass over the numbers. Textbooks keep (1 - beta) times these sums, and call the factor the bias "
            "correction.",
            "In step 1 the mean of m is g, and the root of the mean of v is the size of g. Their ratio is 1 or -1, so "
            "the step has the size of the rate. Only a gradient near eps (1e-8) gives a smaller one.",
            "The weight decay multiplies p itself by a number just below 1. It does not pass through m and v, which is "
            "the W (decoupled weight decay) in AdamW.",
        ),
    ),
}

# What a layer is for, by the end of its name: the plain name first, then GPT-2's.
ROLES = {
    "ln_1": "The layernorm before attention (ln_1). It reads the residual stream and leaves it as it is.",
    "attn.c_attn": "The layer of the queries, keys and values (c_attn). Of each row it makes three, side by side: what "
    "the token looks for, what it can be found by, and what it passes on.",
    "attn.c_proj": "Attention's output layer (attn.c_proj). It mixes the heads' results into one row of the residual "
    "stream, to which it is then added.",
    "ln_2": "The layernorm before the MLP (ln_2). It reads the residual stream and leaves it as it is.",
    "mlp.c_fc": "The MLP's widening layer (c_fc). It makes 4D numbers of the D numbers of each row, so that GELU "
    "can let many combinations of them pass or not.",
    "mlp.c_proj": "The MLP's output layer (mlp.c_proj). It returns from 4D numbers to a row of the residual stream, to "
    "which it is then added.",
    "ln_f": "The final layernorm (ln_f). It gives all rows the same scale before the output layer.",
    "head": "The classifier's head (head). It makes one number for each label, its logit, and is the only new layer.",
}


def role(name):
    """Return the sentence about a layer, `h.1.attn.c_attn` say, or "" for a step that is no layer."""
    parts = name.split(".")
    return ROLES.get(".".join(parts[2:] if parts[0] == "h" else parts), "")


def here(step):
    """Return a sentence with the numbers of this step, which a reader can look up beside it, or ""."""
    argument, sentence = HERE.get(step.kind, ("", None))
    return sentence(step) if argument in step.gradients else ""


def _attention(step):
    dscores = step["d_scores"]
    return (
        f"Here the largest entry of dscores is {np.abs(dscores).max():.2g}, and the largest sum of one of its rows "
        f"{np.abs(dscores.sum(axis=-1)).max():.1g}: 0 but for rounding."
    )


def _gelu(step):
    low, high = ((side > 3).mean() for side in (-step["x"], step["x"]))
    return f"Here {low:.0%} of the numbers are below -3, and {high:.0%} are above 3."


def _rows_of_dx(step):
    dx = step["dx"]
    return (
        f"Here the largest entry of dx is {np.abs(dx).max():.2g}, and the largest mean of one of its rows "
        f"{np.abs(dx.mean(axis=-1)).max():.1g}: 0 but for rounding."
    )


def _cross_entropy(step):
    target, dlogits = step.settings["targets"][0], step["dlogits"]
    p = dlogits[0] * len(dlogits) + (np.arange(dlogits.shape[1]) == target)
    named = ", ".join(f"{number:.3f}" for number in p)
    return f"Here the probabilities of row 0 are {named}, and its true label has the number {target}."


def _embedding(step):
    used, rows = len(np.unique(step.arguments["ids"])), len(step.arguments["wte"])
    return f"Here {used} rows of wte receive a gradient, and the other {rows - used} receive 0."


# {operation: (the argument whose gradient the sentence is about, the sentence)}
HERE = {
    "attention": ("qkv", _attention),
    "dot_product_attention": ("q", _attention),
    "query_attention": ("x", _attention),
    "gelu": ("x", _gelu),
    "layernorm": ("x", _rows_of_dx),
    "softmax": ("x", _rows_of_dx),
    "cross_entropy": ("logits", _cross_entropy),
    "embedding": ("wte", _embedding),
}


def words_of(step):
    """Return (forward, backward, why) of a step, with its role and its own numbers; why is a tuple of explanations."""
    if step.said is not None:  # a learner's own operation: what the check says, and no hint at the solution
        return "", "", tuple(step.said)
    forward, backward, *why = WORDS.get(step.kind, ("", ""))
    shipped = getattr(step.op, "__module__", "").startswith("numpygpt.ops.")  # a learner's names may be others
    numbers = here(step) if shipped else ""
    forward = " ".join(filter(None, [role(step.name), forward]))
    return forward, backward, (*(why[0] if why else ()), *([numbers] if numbers else []))
