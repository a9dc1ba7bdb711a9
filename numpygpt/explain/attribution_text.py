"""An explanation for the terminal: the message shaded, and a line of numbers for each token."""

import numpy as np

from .attribution import Explanation

# Of a terminal's 256 colours: ever stronger orange for the answer, blue against it, as on the pages
FOR, AGAINST = (230, 223, 216, 215, 208), (195, 153, 117, 75, 33)
SIGNS = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"})
AT_BASELINE = {"padding": "padding in every place", "zero": "zero for every token"}


def in_terminal(e: Explanation, colour: bool) -> str:
    """The explanation's text; with `colour` tokens are shaded by their integrated gradients, by ANSI's codes."""
    own, count = int((~e.padding).sum()), len(e.tokens)
    most = np.abs(e.integrated[:own]).max() or 1.0
    shade = _shaded if colour else lambda text, strength: text
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
    way = e.margin - e.baseline_margin
    lines += [
        _numbers(e.integrated.sum(), e.gradient_input.sum(), np.nan) + "  sum",
        "",
        f"margin        {e.margin:+10.3f}  {logits[0]}, {logits[1]}",
        f"  baseline's  {e.baseline_margin:+10.3f}  {AT_BASELINE[e.baseline]}",
        f"  difference  {way:+10.3f}  which integrated gradients miss by {e.difference:.2g} ({e.points} points)",
    ]
    if not e.complete:
        lines.append(f"That is more than {e.tolerance:.0%}: the integral was not found, do not rely on its column.")
    return "\n".join(lines)


def visible(text: str) -> str:
    """A token's text on one line: spaces and line ends as signs, what a terminal might obey as an escape."""
    signs = text.translate(SIGNS)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in signs)


def _numbers(*values):
    return " ".join("         -" if np.isnan(value) else f"{value:+10.3f}" for value in values)


def _shaded(text, strength):
    """The text, black on a colour of this strength; the strongest from 1 or -1 on, none near 0."""
    level = min(5, int(6 * abs(strength)))
    colour = (FOR if strength > 0 else AGAINST)[level - 1]
    return f"\x1b[30;48;5;{colour}m{text}\x1b[0m" if level else text
