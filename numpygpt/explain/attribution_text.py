"""An explanation in the terminal: the shaded message, and a line of numbers for each token."""

import numpy as np

from .colours import colours, in_256

LEVELS = 5  # of a shade
SIGNS = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"})
AT_BASELINE = {"padding": "padding for every token", "zero": "zero for every token"}


def in_terminal(e, colour: bool) -> str:
    """Return an Explanation's text. With `colour`, ANSI codes shade the tokens by their integrated gradients."""
    own, count = int((~e.padding).sum()), len(e.tokens)
    most = np.abs(e.integrated[:own]).max() or 1.0
    of = colours(e.logits)

    def shade(text, strength):
        return _shaded(text, of[e.label if strength > 0 else e.runner_up], abs(strength)) if colour else text

    lines = []
    if colour:
        shaded = (shade(visible(e.tokens[t]).replace("␣", " "), e.integrated[t] / most) for t in range(own))
        lines += ["".join(shaded), f"({shade(f'for {e.label}', 1)}, {shade(f'against, {e.runner_up}', -1)})", ""]
    lines += ["integrated   gradient  lost when", " gradients    x input    deleted  token"]
    for places in [[t] for t in range(own)] + [list(range(own, count))] * (own < count):  # the padding on one line
        times = f" x {len(places)}" if len(places) > 1 else ""
        integrated, gradient_input = e.integrated[places].sum(), e.gradient_input[places].sum()
        token = shade(visible(e.tokens[places[0]]) + times, integrated / most)
        lines.append(_numbers(integrated, gradient_input, e.deletion[places[0]]) + f"  {token}")
    logits = [f"{label} {e.logits[label]:.3f}" for label in (e.label, e.runner_up)]
    change = e.margin - e.baseline_margin
    rest = f"{e.difference:.2g} of it ({e.points} points)"
    lines += [
        _numbers(e.integrated.sum(), e.gradient_input.sum(), np.nan) + "  sum",
        "",
        f"margin        {e.margin:+10.3f}  {logits[0]}, {logits[1]}",
        f"  baseline's  {e.baseline_margin:+10.3f}  {AT_BASELINE[e.baseline]}",
        f"  difference  {change:+10.3f}  integrated gradients explain all but {rest}",
    ]
    if not e.complete:
        lines.append(f"That is more than {e.tolerance:.0%}: the integral did not converge. Do not rely on its column.")
    return "\n".join(lines)


def visible(text: str) -> str:
    """Return a token's text on one line, with visible spaces and line ends, and with control characters escaped."""
    signs = text.translate(SIGNS)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in signs)


def _numbers(*values):
    return " ".join("         -" if np.isnan(value) else f"{value:+10.3f}" for value in values)


def _shaded(text, colour, strength):
    """Return the text in black on a colour of this strength, from 0 to 1. There is no colour near 0."""
    level = min(LEVELS, int((LEVELS + 1) * strength))
    return f"\x1b[30;48;5;{in_256(colour, level / LEVELS)}m{text}\x1b[0m" if level else text
