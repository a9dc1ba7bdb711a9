"""The pages' files: HTML with what all of them share put in."""

from pathlib import Path

HERE = Path(__file__).parent


def template(name) -> str:
    """The HTML file of this name beside this one, with page.css, the pages' common style, in the place of @STYLE@."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return (HERE / name).read_text(encoding="utf-8").replace("@STYLE@", style)
