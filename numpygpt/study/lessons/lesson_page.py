"""A lesson as a page of the site: its text, its cells, and what they print and show with the exercises solved."""

import ast
import html

from ...system.errors import InputError
from .code import code
from .markdown import to_html
from .run import executed


def lesson_body(lesson) -> str:
    """Return the HTML of a lesson. Runs its cells; a cell to turn runs for each value that it names."""
    parts, namespace = [], {"__name__": "__main__"}
    for number, (open_cell, cell) in enumerate(zip(lesson.cells(), lesson.cells(key=True))):
        name = f"<lesson {lesson.number}, cell {number}>"
        if cell.kind == "markdown":
            parts.append(to_html(cell.text, word))
            continue
        parts.append(code(open_cell.text))
        if cell.kind == "exercise":
            parts.append(f"<details><summary>The shipped lines</summary>{code(cell.text)}</details>")
        turns = _turned(cell, name, namespace)
        shown = output(*executed(cell.text, name, namespace))
        solved = '<p class="note">With the shipped lines:</p>' if "numpygpt.check(" in cell.text else ""
        parts.append(turns or solved + shown)
    return "\n".join(parts[:-1])  # without the glossary's words, which have their own page


def word(link):
    """Return where a link to a word of the glossary leads on the site."""
    return f"glossary.html{link}" if link.startswith("#") else link


def output(printed, value) -> str:
    """Return what a cell printed, and its value, as a notebook shows them."""
    found = f'<pre class="out">{html.escape(printed.rstrip())}</pre>' if printed else ""
    if value is None:
        return found
    shown = (
        value._repr_html_() if hasattr(value, "_repr_html_") else f'<pre class="out">{html.escape(repr(value))}</pre>'
    )
    return f'{found}<div class="wide">{shown}</div>'


def _turned(cell, name, namespace):
    """Return a slider over the outputs of a cell with a number to turn; None of another one."""
    if cell.turn is None:
        return None
    number, (own, *others) = cell.turn
    values, shown = sorted([own, *others], key=_size), []
    for value in values:
        try:
            result = output(*executed(cell.turned(value), f"{name}, {value}", dict(namespace)))
        except InputError as error:  # a training that diverges
            result = f'<pre class="out">{html.escape(str(error))}</pre>'
        hidden = "" if value == own else " hidden"
        shown.append(f'<div data-value="{html.escape(value)}"{hidden}>{result}</div>')
    return (
        f'<div class="turn"><label><code>{number} = <output>{html.escape(own)}</output></code>'
        f'<input type="range" min="0" max="{len(values) - 1}" value="{values.index(own)}"></label>'
        f"{''.join(shown)}</div>"
    )


def _size(text):
    value = ast.literal_eval(text)
    return value if isinstance(value, int | float) else 0
