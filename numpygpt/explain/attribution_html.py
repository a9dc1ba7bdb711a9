"""An explanation in a notebook: the shaded message, and what its shades add up to."""

from html import escape

import numpy as np

from .attribution_text import visible
from .colours import channels, colours


def in_notebook(e) -> str:
    """Return an Explanation as HTML. Its tokens are shaded by their integrated gradients, in the labels' colours."""
    colour, own = colours(e.logits), ~e.padding
    most = np.abs(e.integrated[own]).max() or 1.0

    def shaded(text, value, share):
        r, g, b = channels(colour[e.label if share > 0 else e.runner_up])
        style = f"background:rgba({r},{g},{b},{0.7 * min(1, abs(share)):.2f});border-radius:3px"
        return f'<span title="{value}" style="{style}">{escape(text)}</span>'

    tokens = "".join(
        shaded(visible(e.tokens[t]).replace("␣", " "), f"{e.integrated[t]:+.3f}", e.integrated[t] / most)
        for t in np.flatnonzero(own)
    )
    if (padding := int(e.padding.sum())) > 0:
        tokens += f" <small>and {padding} of padding: {e.integrated[~own].sum():+.3f}</small>"
    key = f"{shaded(f'for {e.label}', '', 1)} {shaded(f'for {e.runner_up}', '', -1)}"
    return (
        f"<div><p><b>{escape(e.label)}</b> {e.probability:.2%}</p>"
        f'<p style="white-space:pre-wrap;line-height:1.9">{tokens}</p>'
        f"<p><small>{key} {escape(e.sums())}</small></p></div>"
    )
