"""What the trace says about an operation: what its forward pass computes, what its backward pass computes, and, where
the backward pass needs more explanation, why."""

WORDS = {
    "embedding": (
        "Each token looks up its row of the table wte, and each position looks up its row of wpe. A token's row is the "
        "sum of both.",
        "Row n of x was copied from the tables, so its gradient goes to the table rows it was copied from. A token "
        "that occurs twice receives the sum of both gradients.",
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
    ),
    "attention": (
        "In each head, a row's query is compared with the keys of its own row and of earlier rows. Softmax turns the "
        "scores into weights. The result is the weighted mean of the values.",
        "The gradient passes through two products and a softmax in reverse order: from dy to the values and the "
        "weights, from the weights through softmax to the scores, and from the scores to the queries and keys.",
    ),
    "dot_product_attention": (
        "Each query is compared with every key. Softmax turns the scores into weights. The result is the weighted mean "
        "of the values.",
        "Each product passes a gradient to both its factors. The queries and the keys share the gradient of the "
        "scores, which is therefore computed once.",
    ),
    "query_attention": (
        "Attention for one row of the message. With a single query, keys and values need not be computed for all rows: "
        "the key's weights are folded into the query, and the value's weights are applied after the weighted mean.",
        "The gradients equal those of ordinary attention and take less work. The gradient of the one query flows back "
        "to all rows that it attended to.",
    ),
    "gelu": (
        "Each number is treated by itself: large positive numbers pass unchanged, large negative numbers become 0, and "
        "a smooth curve connects the two.",
        "Each number is again treated by itself: dy is multiplied by the slope of that curve at x, which the product "
        "rule gives.",
    ),
    "softmax": (
        "exp makes every number positive. Dividing by the row's sum makes the numbers weights that sum to 1.",
        "Every weight also depends on the row's sum. Raising all numbers of a row equally changes nothing, so that "
        "part of the gradient is subtracted.",
    ),
    "take_rows": (
        "The classifier reads one row of each message. The other rows were used inside attention.",
        "The row that was read receives the gradient. The other rows receive a true 0: changing them here does not "
        "change the loss.",
    ),
    "mean_rows": (
        "The rows of a message are averaged into one row.",
        "Each of the T rows has weight 1/T, so it receives dy / T.",
    ),
    "cross_entropy": (
        "The loss is minus the logarithm of the probability that softmax gives the true label: near 0 if the model was "
        "certain and right, large if it was wrong.",
        "Logarithm and exp cancel: the gradient is the probabilities, minus 1 at the true label. A step against it "
        "raises the true label's logit and lowers the others.",
    ),
    "output_loss": (
        "Each row is multiplied with every token's embedding, which gives the logits of the next token. The loss is "
        "the mean cross-entropy of these logits.",
        "The gradients are those of a linear layer without a bias. wte is used here and in the embedding, so its "
        "gradient is a sum of two.",
    ),
    "block": (
        "The output of attention is added to x, and the output of the MLP is added to that sum.",
        "A sum passes its gradient unchanged to both its terms. Where x takes two paths, the gradients of both paths "
        "are added.",
    ),
    "block_at": (
        "The same block for the one row that the classifier reads. The other rows are only attended to.",
        "The row that is read takes two paths, through take_rows and through attention, and their gradients are added. "
        "The other rows take only the path through attention.",
    ),
    "tokens": (
        "The message is split into tokens from the model's vocabulary. Each token is a whole number.",
        "A whole number has no gradient: you cannot move it a little. Backpropagation ends at the tables in which the "
        "numbers were looked up.",
    ),
    "update": (
        "AdamW changes every trainable number a little, against its gradient.",
        "In the first step, m and v contain only this one gradient. Each number therefore changes by about the "
        "learning rate, whatever the size of its gradient.",
    ),
}
