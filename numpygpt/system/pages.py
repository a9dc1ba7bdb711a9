"""The pages' HTML files, with the style that all of them share."""

from pathlib import Path

STYLE = Path(__file__).with_name("page.css")


def template(path) -> str:
    """Return the HTML file `path`, with the pages' common style in the place of @STYLE@."""
    return Path(path).read_text(encoding="utf-8").replace("@STYLE@", STYLE.read_text(encoding="utf-8"))
