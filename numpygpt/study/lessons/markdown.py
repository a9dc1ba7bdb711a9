"""Markdown to HTML: the part of Markdown in which the lessons and the glossary are written."""

import html
import re

from ..mathml import mathml

INLINE = re.compile(
    r"(?P<code>`[^`]+`)|\*\*(?P<b>.+?)\*\*|\*(?P<em>[^*\s](?:[^*]*[^*\s])?)\*|\[(?P<text>[^\]]+)\]\((?P<to>[^)\s]+)\)",
    re.DOTALL,
)
ITEM = re.compile(r"(?:-|\d+\.) +")


def to_html(text, target=lambda link: link) -> str:
    """Return HTML of a text: headings, paragraphs, lists, tables, indented code, `$$` lines, and folded details.

    target   the address that a link becomes
    """
    return "\n".join(_block(block, target) for block in _blocks(text))


def inline(text, target=lambda link: link) -> str:
    """Return HTML of a line: `code`, **bold**, *emphasis* and [links](to)."""
    found, end = [], 0
    for part in INLINE.finditer(text):
        found.append(html.escape(text[end : part.start()], quote=False))
        if part["code"]:
            found.append(f"<code>{html.escape(part['code'][1:-1], quote=False)}</code>")
        elif part["b"]:
            found.append(f"<b>{inline(part['b'], target)}</b>")
        elif part["em"]:
            found.append(f"<em>{inline(part['em'], target)}</em>")
        else:
            found.append(f'<a href="{html.escape(target(part["to"]))}">{inline(part["text"], target)}</a>')
        end = part.end()
    return "".join([*found, html.escape(text[end:], quote=False)])


def _blocks(text):
    """Yield the parts between blank lines. Indented parts in a row are one."""
    block = ""
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if block.startswith("    ") and part.startswith("    "):
            block += f"\n\n{part}"
            continue
        if block:
            yield block
        block = part
    if block:
        yield block


def _block(block, target):
    lines = block.splitlines()
    if block.startswith("    "):
        return f"<pre>{html.escape(re.sub('^    ', '', block, flags=re.MULTILINE), quote=False)}</pre>"
    if heading := re.match(r"(#{1,3}) (.+)", block):
        level, name = len(heading[1]), heading[2]
        return f'<h{level} id="{slug(name)}">{inline(name, target)}</h{level}>'
    if block.startswith("$$"):
        return "".join(mathml(line.strip("$ ")) for line in lines)
    if re.match(r"</?details>", block):
        return re.sub(
            r"<summary>(.*?)</summary>", lambda found: f"<summary>{inline(found[1], target)}</summary>", block
        )
    if block.startswith("|"):
        head, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
        cells = [_row("th", head, target), *(_row("td", row, target) for row in rows)]
        return f'<div class="wide"><table>{"".join(cells)}</table></div>'
    if re.match(r"-|1\.", block) and ITEM.match(block):
        tag = "ul" if block.startswith("-") else "ol"
        items = re.split(r"\n(?=- |\d+\. )", block)
        inner = [inline(ITEM.sub("", item, count=1), target) for item in items]
        return f"<{tag}>{''.join(f'<li>{item}</li>' for item in inner)}</{tag}>"
    return f"<p>{inline(block, target)}</p>"


def _row(tag, cells, target):
    return f"<tr>{''.join(f'<{tag}>{inline(cell, target)}</{tag}>' for cell in cells)}</tr>"


def slug(name) -> str:
    """Return what a link to a heading of this name has after its #."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-")
