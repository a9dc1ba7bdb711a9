"""Every operation of GPT-2 that has a gradient: the forward pass, and under it one function per gradient.

An operation takes arrays and returns its result and a tuple of functions, one for each argument that has a gradient, in
the order of the arguments:

    y, (dx, dweight, dbias) = linear(x, weight, bias)
    dweight(dy)  # the gradient of the loss with respect to weight, given dy, its gradient with respect to y

Each function is called `d` + the argument's name, and its result has that argument's shape. You can call it again, with
another dy. Do not call the functions of frozen arguments: when you drop them, Python frees the arrays only they use.

Letters, everywhere: N rows (the tokens of all messages of a batch, laid end to end), B messages, T tokens of one
message, D width of a row, H heads, d width of a head, C classes, V vocabulary. `lengths` (B,) holds each message's
number of rows; the lengths sum to N.

Results keep the dtype of the arguments: float32 for training, float64 and complex128 for checking. Any mixture of real
and complex arguments works. A complex-step derivative passes through every operation, because none applies abs, conj
or an inequality to its inputs on their way to the result.

The files import NumPy and each other, nothing else. Paste one into a notebook, and it runs. How the model runs an
operation in chunks and on all cores is in `numpygpt/model/fast.py`.
"""
