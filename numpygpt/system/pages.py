"""The pages' HTML files, with the beginning and the style that all of them share."""

from pathlib import Path

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">"""
STYLE = Path(__file__).with_name("page.css")


def template(path) -> str:
    """Return the HTML file `path`, with HEAD in the place of @HEAD@ and the pages' common style in that of @STYLE@."""
    text = Path(path).read_text(encoding="utf-8").replace("@HEAD@", HEAD)
    return text.replace("@STYLE@", STYLE.read_text(encoding="utf-8"))
