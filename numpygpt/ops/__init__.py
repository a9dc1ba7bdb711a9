"""Every operation of GPT-2 that has a gradient, one a file: the forward pass, and under it the backward pass.

An operation takes arrays and returns its result and a function, `backward`, which takes the gradient of the loss with
respect to that result and returns the gradient with respect to each input, in the inputs' order:

    y, backward = linear(x, weight, bias)
    dx, dweight, dbias = backward(dy)

`d` + name is the derivative of the loss by that name, and always has its shape. backward may be called again, with
another dy. `needs` says which of those gradients will be asked for (all, unless told); the others come back as None,
and what only they would have needed is neither computed nor kept.

Letters, everywhere: N rows (tokens of all messages of a batch, laid end to end), B messages, T tokens of one message,
D width of a row, H heads, C classes, V vocabulary. `lengths` (B,) are the messages' numbers of rows; they sum to N.

Results have the inputs' dtype: float32 to train, float64 and complex128 to check (see `numpygpt.gradcheck`). So that a
complex-step derivative passes through, nothing here uses abs, conj or an inequality on the path of its inputs.
"""
