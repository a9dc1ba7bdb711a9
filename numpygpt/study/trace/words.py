"""What the trace says of an operation: one sentence on what its forward pass does, one on what its backward pass
does, and where that takes more, why."""

WORDS = {
    "embedding": (
        "Each token fetches its row of the table wte, and each place its row of wpe; a token's row is their sum.",
        "Row n of x was a copy, so its gradient goes to the table row it was copied from; a token that occurs twice "
        "collects the sum of both.",
    ),
    "layernorm": (
        "Each row is centred (mean 0) and scaled (variance 1); then every column gets a gain and a bias that learn. "
        "So one number of x moves its whole row: by itself, through the row's mean, and through the row's spread.",
        "One number of x moves the loss in three ways, so its gradient has three terms, all times rstd, the scale of "
        "its row.",
        (
            "g: its own place in xhat moves.",
            "minus mean(g): the row's mean moves too, by 1/D of it, and is taken off every place of the row.",
            "minus xhat * mean(g * xhat): the row's spread moves too, by xhat/D of it (in units of the spread), and "
            "every place of the row is divided by it.",
            "To see it in the numbers: raising or stretching a whole row changes nothing in y (but for epsilon), so "
            "each row of dx has mean 0, and so has each row of dx * xhat.",
        ),
    ),
    "linear": (
        "Each output is a sum of all numbers of the row, each times a weight, plus a bias.",
        "In a product each factor's gradient is the other factor: dx is dy times the weights, dweight is x times dy, "
        "summed over the rows that all used the same weight.",
    ),
    "attention": (
        "In each head, a row's query is compared with the keys of the rows before it (and its own); softmax makes "
        "that weights, and the result is the weighted mean of their values.",
        "Two products and a softmax, undone in reverse: from dy to the values and the weights, from the weights "
        "through softmax to the scores, from the scores to queries and keys.",
    ),
    "dot_product_attention": (
        "Every query is compared with every key: their scaled product is a score. softmax turns the scores of a query "
        "into weights that sum to 1, and the result is the weighted mean of the values.",
        "dv is weights.T @ dy, because value j entered result i with the weight [i, j]. dscores came through softmax, "
        "so each of its rows sums to 0. A score is the product of a query and a key, so each receives the other.",
    ),
    "query_attention": (
        "Attention, asked for one row alone: one query, so keys and values need not be formed for all rows. The "
        "key's weights move into the query, the value's come after the weighted mean.",
        "The same gradients as the textbook's, by the shorter way: what came through the one query goes back to all "
        "the rows it looked at.",
    ),
    "gelu": (
        "Each number by itself: large positive ones pass, large negative ones become 0, with a smooth bend between.",
        "Each number by itself again: dy times the slope of that bend at x, by the product rule.",
    ),
    "softmax": (
        "exp makes every number positive, and dividing by the row's sum makes them weights that sum to 1.",
        "Every weight sits in the row's sum too: what would raise all of a row alike is taken off, since it changes "
        "nothing.",
    ),
    "take_rows": (
        "Of each message one row is read; the others have done their work inside attention.",
        "The gradient goes to the row that was read; the other rows get 0, a real 0: moving them here changes nothing.",
    ),
    "mean_rows": (
        "The rows of a message are averaged into one.",
        "Each of T rows entered with the factor 1/T, so each gets dy / T.",
    ),
    "cross_entropy": (
        "The loss is minus the logarithm of the probability that softmax gives the true label: 0 if it was certain, "
        "large if it was wrong.",
        "Logarithm and exp cancel: the gradient is the probabilities, minus 1 at the true label. Push the right one "
        "up, the others down.",
    ),
    "output_loss": (
        "Each row is compared with every token's embedding: those products are the next token's logits. The loss is "
        "their mean cross-entropy.",
        "As in a linear layer, without bias. wte is used here and at the very bottom, so its gradient is a sum of two.",
    ),
    "block": (
        "x goes on as it is, and what attention and the MLP make of it is added: two sums.",
        "A sum hands its gradient on, unchanged, to both its terms. Where x went two ways, what comes back on both "
        "is added.",
    ),
    "block_at": (
        "The same block for the one row that is read: the other rows are only there to be attended to.",
        "The row that is read had two ways, through take_rows and through attention; the other rows only one. Both "
        "are added.",
    ),
    "tokens": (
        "The message is cut into the pieces that the model knows. Each is a whole number.",
        "A whole number has no gradient: one cannot move it a little. The way back ends at the tables that it was "
        "looked up in.",
    ),
    "update": (
        "AdamW moves every number that learns a little against its gradient.",
        "In the first step m and v hold this one gradient alone, so each number moves by about the learning rate, "
        "whatever its gradient's size.",
    ),
}
