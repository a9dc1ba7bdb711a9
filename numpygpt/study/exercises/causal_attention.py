from dataclasses import replace

from .attention import DOCSTRING, EXERCISE

HINTS = (
    "It is attention with a mask: a row sees itself and those before. Which of the arrays on the way back are "
    "touched by a constant, -inf, that is added to scores?",
    "None by itself: the gradient of a sum with a constant goes through as it is. What later rows would get is 0 "
    "because their weight is 0. So use the weights and the d_softmax of the forward pass, with the mask in them.",
    "As for attention, with the weights of the forward pass:\n"
    "    dv = weights.T @ dy       dweights = dy @ v.T       dscores = softmax's backward of dweights\n"
    "    dq = dscores @ k / sqrt(d)        dk = dscores.T @ q / sqrt(d)",
)

EXERCISE = replace(
    EXERCISE,
    name="causal_attention",
    teaches="a mask needs no gradient of its own, and decides all others",
    hints=HINTS,
    without=(),
    docstring=DOCSTRING.replace(
        "a row attends\nto all rows of its message.",
        "with `causal`,\na row attends to itself and those before.",
    ),
)
