"""Python code as HTML: keywords, strings and comments marked."""

import html
import io
import keyword
import tokenize

CLASSES = {tokenize.COMMENT: "c", tokenize.STRING: "s"}


def code(text) -> str:
    """Return a `<pre>` of a text of Python."""
    found, at = [], 0
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = "k" if token.type == tokenize.NAME and keyword.iskeyword(token.string) else CLASSES.get(token.type)
        if kind:
            first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
            found += [html.escape(text[at:first]), f'<span class="{kind}">{html.escape(text[first:last])}</span>']
            at = last
    return f'<pre class="code">{"".join(found)}{html.escape(text[at:])}</pre>'
