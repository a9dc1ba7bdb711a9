"""One colour for each label: the same on the page, in a notebook and in the terminal."""

import colorsys

# The first labels' colours, which differ in hue and are readable on a light and on a dark background
_FIRST = ("#3b7fc4", "#d9731a", "#2c9a6b", "#c04f8f", "#7f66cf", "#8a8a1e", "#1c97a6", "#a36a44")
_GOLDEN = 0.618034  # steps of the golden ratio around the circle of hues keep neighbours apart


def colours(labels) -> dict[str, str]:
    """Return {label: "#rrggbb"} in the order of the labels."""
    return {label: _FIRST[i] if i < len(_FIRST) else _further(i) for i, label in enumerate(labels)}


def channels(colour: str) -> tuple[int, ...]:
    """Return (red, green, blue), 0 to 255, of "#rrggbb"."""
    return tuple(bytes.fromhex(colour[1:]))


def in_256(colour: str, strength: float) -> int:
    """Return the nearest of a terminal's 256 colours to `colour` mixed with white; a strength of 1 has no white."""
    r, g, b = (round((255 + strength * (channel - 255)) / 51) for channel in channels(colour))
    return 16 + 36 * r + 6 * g + b


def _further(i):
    rgb = colorsys.hls_to_rgb(i * _GOLDEN % 1, 0.5, 0.5)
    return "#" + bytes(round(255 * channel) for channel in rgb).hex()
