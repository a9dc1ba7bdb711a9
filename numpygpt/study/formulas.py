r"""The formulas of every operation, of the block, of AdamW and of the exercises, in one place.

The trace and the handout draw them as MathML (`mathml.py`), and notebooks show the same LaTeX between `$$`. `FORMULAS`
writes a formula as the code does, with a few LaTeX commands: a word is a name of the code, `@` is a matrix product and
`*` an elementwise one. `Formula` turns that into LaTeX.
"""

import re
from dataclasses import dataclass

FUNCTIONS = {"softmax", "layernorm", "gelu", "attention", "onehot", "merge", "split"}
OPERATORS = {"@": r"\cdot", "*": r"\odot"}
PART = re.compile(r"\\text\{[^}]*\}|\\[A-Za-z]+|[A-Za-z][A-Za-z0-9]+|[@*]")


def latex(text) -> str:
    r"""Return LaTeX of a formula that is written as in FORMULAS.

    Examples
    --------
    >>> print(latex(r"dx = dy @ weight^\top"))
    \mathit{dx} = \mathit{dy} \cdot \mathit{weight}^\top
    """

    def part(found):
        word = found[0]
        if word.startswith("\\"):
            return word
        if word in OPERATORS:
            return OPERATORS[word]
        return rf"\operatorname{{{word}}}" if word in FUNCTIONS else rf"\mathit{{{word}}}"

    return PART.sub(part, text)


@dataclass(frozen=True)
class Formula:
    """The formulas of one operation.

    shapes      {name: "N, D"} of the arrays that go in, and last of the result; () of a single number
    forward     the lines of the forward pass
    gradients   {"dx": its line}, for each of the operation's gradient functions, in their order
    shared      the lines that several gradients use, in the order in which the backward pass needs them
    remark      one sentence about the letters, or ""
    """

    shapes: dict[str, str]
    forward: tuple[str, ...]
    gradients: dict[str, str]
    shared: tuple[str, ...] = ()
    remark: str = ""

    def forward_latex(self) -> list[str]:
        """Return the LaTeX of each line of the forward pass."""
        return [latex(line) for line in self.forward]

    def backward_latex(self) -> list[str]:
        """Return the LaTeX of each line of the backward pass: the shared lines, then a line per gradient."""
        return [latex(line) for line in (*self.shared, *self.gradients.values())]


def formula(function) -> Formula:
    """Return the Formula of an operation, given as a function or by the function's name."""
    return FORMULAS[function if isinstance(function, str) else function.__name__]


_ATTENTION = Formula(
    {"q": "..., Q, d", "k": "..., T, d", "v": "..., T, d", "y": "..., Q, d"},
    (
        r"scores = \frac{q @ k^\top}{\sqrt{d}}",
        r"weights_{i j} = \frac{\exp(scores_{i j})}{\sum_t \exp(scores_{i t})}",
        r"y = weights @ v",
    ),
    {
        "dq": r"dq = \frac{dscores @ k}{\sqrt{d}}",
        "dk": r"dk = \frac{dscores^\top @ q}{\sqrt{d}}",
        "dv": r"dv = weights^\top @ dy",
    },
    (
        r"dweights = dy @ v^\top",
        r"dscores_{i j} = weights_{i j} \left( dweights_{i j} - \sum_t weights_{i t} \, dweights_{i t} \right)",
    ),
    "With a causal mask, a score of a later row is −∞, and its weight is 0.",
)

_DLOGITS = r"dlogits = \frac{dloss}{N} \left( softmax(logits) - onehot(targets) \right)"
_OUTPUT = (
    r"logits = x @ wte^\top",
    r"loss = -\frac{1}{N} \sum_n \log \, softmax(logits_n)_{targets_n}",
)

FORMULAS = {
    "linear": Formula(
        {"x": "N, in", "weight": "in, out", "bias": "out", "y": "N, out"},
        (r"y = x @ weight + bias",),
        {
            "dx": r"dx = dy @ weight^\top",
            "dweight": r"dweight = x^\top @ dy",
            "dbias": r"dbias = \sum_n dy_n",
        },
    ),
    "softmax": Formula(
        {"x": "..., T", "y": "..., T"},
        (r"y_i = \frac{\exp(x_i)}{\sum_j \exp(x_j)}",),
        {"dx": r"dx_i = y_i \left( dy_i - \sum_j dy_j \, y_j \right)"},
    ),
    "cross_entropy": Formula(
        {"logits": "B, C", "targets": "B", "weights": "C", "loss": ""},
        (
            r"q = (1 - s) \, onehot(targets) + \frac{s}{C}",
            r"loss = -\frac{1}{B} \sum_{b, c} q_{b c} \log \, softmax(logits_b)_c",
        ),
        {"dlogits": r"dlogits = \frac{dloss}{B} \left( softmax(logits) - q \right)"},
        remark="s is the label smoothing; without it, q is 1 at the target and 0 elsewhere. Weights for labels "
        "multiply q, the sum of that q in each row multiplies softmax, and B is the sum of the targets' weights.",
    ),
    "gelu": Formula(
        {"x": "N, D", "y": "N, D"},
        (
            r"u = \sqrt{\frac{2}{\pi}} \left( x + 0.044715 \, x^3 \right)",
            r"t = \tanh(u)",
            r"y = \frac{x}{2} \left( 1 + t \right)",
        ),
        {"dx": r"dx = dy * \left( \frac{1 + t}{2} + \frac{x}{2} \left( 1 - t^2 \right) \frac{du}{dx} \right)"},
        (r"\frac{du}{dx} = \sqrt{\frac{2}{\pi}} \left( 1 + 3 \cdot 0.044715 \, x^2 \right)",),
        "The first line of the backward pass is a slope: du/dx is no gradient of the loss.",
    ),
    "layernorm": Formula(
        {"x": "N, D", "gain": "D", "bias": "D", "y": "N, D"},
        (
            r"mean = \frac{1}{D} \sum_j x_j",
            r"variance = \frac{1}{D} \sum_j \left( x_j - mean \right)^2",
            r"rstd = \frac{1}{\sqrt{variance + \varepsilon}}",
            r"xhat = \left( x - mean \right) \, rstd",
            r"y = gain * xhat + bias",
        ),
        {
            "dx": r"dx_j = rstd \, \left( g_j - \frac{1}{D} \sum_i g_i - xhat_j \, "
            r"\frac{1}{D} \sum_i g_i \, xhat_i \right)",
            "dgain": r"dgain = \sum_n dy_n * xhat_n",
            "dbias": r"dbias = \sum_n dy_n",
        },
        (r"g = gain * dy",),
        "Mean, variance and rstd belong to one row of x; i and j count along that row, n counts the rows.",
    ),
    "embedding": Formula(
        {"ids": "N", "wte": "V, D", "wpe": "P, D", "x": "N, D"},
        (r"x_n = wte_{ids_n} + wpe_{positions_n}",),
        {
            "dwte": r"dwte_i = \sum_{n: \, ids_n = i} dx_n",
            "dwpe": r"dwpe_i = \sum_{n: \, positions_n = i} dx_n",
        },
    ),
    "take_rows": Formula(
        {"x": "N, D", "rows": "B", "y": "B, D"},
        (r"y_b = x_{rows_b}",),
        {"dx": r"dx_{rows_b} = dy_b, \quad 0 \text{ in the other rows}"},
    ),
    "mean_rows": Formula(
        {"x": "N, D", "lengths": "B", "y": "B, D"},
        (r"y_b = \frac{1}{T} \sum_{n \text{ in } b} x_n",),
        {"dx": r"dx_n = \frac{dy_b}{T} \quad \text{for each row } n \text{ of message } b"},
        remark="T is the length of message b.",
    ),
    "dot_product_attention": _ATTENTION,
    "attention": Formula(
        {"qkv": "N, 3D", "y": "N, D"},
        (
            r"\left[ q \; k \; v \right] = split(qkv)",
            r"y = merge \left( softmax \left( \frac{q @ k^\top}{\sqrt{d}} \right) @ v \right)",
        ),
        {"dqkv": r"dqkv = \left[ merge(dq) \; merge(dk) \; merge(dv) \right]"},
        (r"\left[ dq \; dk \; dv \right] = \text{those of dot-product attention at } split(dy)",),
        "split makes arrays (messages, heads, T, d) of the columns of each head, and merge undoes that.",
    ),
    "query_attention": Formula(
        {"x": "N, D", "weight": "D, 3D", "bias": "3D", "lengths": "B", "rows": "B", "y": "B, D"},
        (
            r"q = x_{rows} @ W_q + b_q",
            r"r = q @ W_k^\top",
            r"weights = softmax \left( \frac{r @ x^\top}{\sqrt{d}} \right)",
            r"z = weights @ x",
            r"y = z @ W_v + b_v",
        ),
        {
            "dx": r"dx = \frac{dscores^\top @ r}{\sqrt{d}} + weights^\top @ dz, "
            r"\quad \text{and } dq @ W_q^\top \text{ more at } rows",
            "dweight": r"dweight = \left[ x_{rows}^\top @ dq \; \; dr^\top @ q \; \; z^\top @ dy \right]",
            "dbias": r"dbias = \left[ \sum_b dq_b \; \; 0 \; \; \sum_b dy_b \right]",
        },
        (
            r"dz = dy @ W_v^\top",
            r"dweights = dz @ x^\top",
            r"dscores_t = weights_t \left( dweights_t - \sum_s weights_s \, dweights_s \right)",
            r"dr = \frac{dscores @ x}{\sqrt{d}}",
            r"dq = dr @ W_k",
        ),
        "The weight is the three matrices W for query, key and value, side by side. Each head uses its own columns.",
    ),
    "output_loss": Formula(
        {"x": "N, D", "wte": "V, D", "targets": "N", "loss": ""},
        _OUTPUT,
        {"dx": r"dx = dlogits @ wte", "dwte": r"dwte = dlogits^\top @ x"},
        (_DLOGITS,),
    ),
    "tied_output": Formula(
        {"ids": "N", "wte": "V, D", "targets": "N", "loss": ""},
        (r"x_n = wte_{ids_n}", *_OUTPUT),
        {"dwte": r"dwte_i = \left( dlogits^\top @ x \right)_i + \sum_{n: \, ids_n = i} dx_n"},
        (_DLOGITS, r"dx = dlogits @ wte"),
    ),
    "residual": Formula(
        {"x": "N, D", "weight1": "D, D", "weight2": "D, D", "y": "N, D"},
        (
            r"inner1 = x @ weight1",
            r"a = x + \tanh(inner1)",
            r"inner2 = a @ weight2",
            r"y = a + \tanh(inner2)",
        ),
        {
            "dx": r"dx = da + dinner1 @ weight1^\top",
            "dweight1": r"dweight1 = x^\top @ dinner1",
            "dweight2": r"dweight2 = a^\top @ dinner2",
        },
        (
            r"dinner2 = dy * \left( 1 - \tanh(inner2)^2 \right)",
            r"da = dy + dinner2 @ weight2^\top",
            r"dinner1 = da * \left( 1 - \tanh(inner1)^2 \right)",
        ),
    ),
    "block": Formula(
        {
            "x": "N, D",
            **{"gain1": "D", "bias1": "D", "w_qkv": "D, 3D", "b_qkv": "3D", "w_proj": "D, D", "b_proj": "D"},
            **{"gain2": "D", "bias2": "D", "w_fc": "D, 4D", "b_fc": "4D", "w_out": "4D, D", "b_out": "D"},
            "y": "N, D",
        },
        (
            r"normed1 = layernorm(x)",
            r"attended = attention(normed1 @ w_{qkv} + b_{qkv})",
            r"a = x + attended @ w_{proj} + b_{proj}",
            r"normed2 = layernorm(a)",
            r"active = gelu(normed2 @ w_{fc} + b_{fc})",
            r"y = a + active @ w_{out} + b_{out}",
        ),
        {
            "dx": r"dx = da + \text{dx of layernorm}(dnormed1)",
            "dgain1": r"dgain1 = \text{dgain of layernorm}(dnormed1)",
            "dbias1": r"dbias1 = \sum_n dnormed1_n",
            "dw_qkv": r"dw_{qkv} = normed1^\top @ dqkv",
            "db_qkv": r"db_{qkv} = \sum_n dqkv_n",
            "dw_proj": r"dw_{proj} = attended^\top @ da",
            "db_proj": r"db_{proj} = \sum_n da_n",
            "dgain2": r"dgain2 = \text{dgain of layernorm}(dnormed2)",
            "dbias2": r"dbias2 = \sum_n dnormed2_n",
            "dw_fc": r"dw_{fc} = normed2^\top @ dhidden",
            "db_fc": r"db_{fc} = \sum_n dhidden_n",
            "dw_out": r"dw_{out} = active^\top @ dy",
            "db_out": r"db_{out} = \sum_n dy_n",
        },
        (
            r"dhidden = \text{dx of gelu}(dy @ w_{out}^\top)",
            r"dnormed2 = dhidden @ w_{fc}^\top",
            r"da = dy + \text{dx of layernorm}(dnormed2)",
            r"dqkv = \text{dqkv of attention}(da @ w_{proj}^\top)",
            r"dnormed1 = dqkv @ w_{qkv}^\top",
        ),
        "x and a take two paths each, past a layer and through it, so their gradients are sums of two.",
    ),
    "lora": Formula(
        {"x": "N, in", "weight": "in, out", "A": "in, rank", "B": "rank, out", "y": "N, out"},
        (r"merged = weight + scale \, A @ B", r"y = x @ merged"),
        {
            "dx": r"dx = dy @ merged^\top",
            "dA": r"dA = scale \, dmerged @ B^\top",
            "dB": r"dB = scale \, A^\top @ dmerged",
        },
        (r"dmerged = x^\top @ dy",),
        "The weight is frozen.",
    ),
    "freezing": Formula(
        {
            "x": "N, in",
            "weight1": "in, hidden",
            "bias1": "hidden",
            "weight2": "hidden, out",
            "bias2": "out",
            "y": "N, out",
        },
        (r"h = \tanh(x @ weight1 + bias1)", r"y = h @ weight2 + bias2"),
        {
            "dx": r"dx = du @ weight1^\top",
            "dweight1": r"dweight1 = x^\top @ du",
            "dbias1": r"dbias1 = \sum_n du_n",
            "dweight2": r"dweight2 = h^\top @ dy",
            "dbias2": r"dbias2 = \sum_n dy_n",
        },
        (r"dh = dy @ weight2^\top", r"du = dh * \left( 1 - h^2 \right)"),
        "Only what learns gets its line. dh and du are needed as soon as x, weight1 or bias1 learns.",
    ),
    "adamw": Formula(
        {"p": "...", "g": "...", "m": "...", "v": "..."},
        (
            r"p \leftarrow p \left( 1 - lr \, decay \right)",
            r"m \leftarrow \beta_1 m + \left( 1 - \beta_1 \right) g",
            r"v \leftarrow \beta_2 v + \left( 1 - \beta_2 \right) g^2",
            r"p \leftarrow p - lr \, \frac{\frac{m}{1 - \beta_1^t}}{\sqrt{\frac{v}{1 - \beta_2^t}} + \varepsilon}",
        ),
        {},
        remark="m and v start at 0; t counts the steps from 1.",
    ),
    "AdamW": Formula(
        {"p": "...", "g": "...", "m": "...", "v": "..."},
        (
            r"m \leftarrow \beta_1 m + g",
            r"v \leftarrow \beta_2 v + g^2",
            r"c_1 = \frac{1 - \beta_1}{1 - \beta_1^t}, \quad c_2 = \frac{1 - \beta_2}{1 - \beta_2^t}",
            r"p \leftarrow p \left( 1 - lr \, decay \right) - lr \, \frac{c_1 m}{\sqrt{c_2 v} + \varepsilon}",
        ),
        {},
        remark="m and v start at 0 and are weighted sums; the two factors c turn them into weighted means.",
    ),
}
