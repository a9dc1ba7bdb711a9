r"""LaTeX to MathML, which browsers draw without a library: the part of LaTeX that `formulas.py` uses.

Letters, numbers, operators, groups, `^` and `_`, and the commands below. Anything else raises ValueError.
"""

import html
import re

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\S")
SYMBOLS = {
    **{"beta": "β", "varepsilon": "ε", "pi": "π"},
    **{"odot": "⊙", "cdot": "·", "leftarrow": "←", "top": "⊤", "sum": "∑"},
}
LETTERS = {"beta", "varepsilon", "pi"}
SPACES = {",": "0.17em", ";": "0.5em", "quad": "1em"}
FUNCTIONS = {"exp", "log", "tanh"}
CHARACTERS = {"-": "−"}


def mathml(latex) -> str:
    r"""Return a `<math>` element of a formula in LaTeX that stands on a line of its own, as between `$$`.

    Raises ValueError for a command that is not known, and for a group that does not end.

    Examples
    --------
    >>> mathml(r"\frac{1}{2}")
    '<math display="block"><mfrac><mn>1</mn><mn>2</mn></mfrac></math>'
    """
    return f'<math display="block">{_Converter(latex).whole()}</math>'


class _Converter:
    """Reads a formula from left to right."""

    def __init__(self, latex):
        self.latex, self.tokens, self.at = latex, list(TOKEN.finditer(latex)), 0

    def whole(self):
        row = self.row()
        if self.peek() is not None:
            raise ValueError(f"{self.peek()!r} without a beginning, in {self.latex}")
        return row

    def peek(self):
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        if token is None or expected not in (None, token):
            raise ValueError(f"expected {expected or 'more'} after {self.latex[: self.tokens[self.at - 1].end()]}")
        self.at += 1
        return token

    def row(self):
        """Read up to the end of a group."""
        parts = []
        while self.peek() not in (None, "}", r"\right"):
            parts.append(self.scripted())
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self):
        """Read one thing, and what is above and below it."""
        base, is_sum = self.atom(), self.tokens[self.at - 1][0] == r"\sum"
        scripts = {}
        while (mark := self.peek()) in ("^", "_"):
            self.take()
            if mark in scripts:
                raise ValueError(f"two {mark} in a row, in {self.latex}")
            scripts[mark] = self.atom()
        if is_sum and "_" in scripts:
            return f"<munder>{base}{scripts['_']}</munder>"
        name = {"": None, "_": "msub", "^": "msup", "^_": "msubsup"}["".join(sorted(scripts))]
        return f"<{name}>{base}{scripts.get('_', '')}{scripts.get('^', '')}</{name}>" if name else base

    def atom(self):
        token = self.take()
        if token == "{":
            row = self.row()
            self.take("}")
            return row
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isalpha():
            return self.name(token)
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token in "()[]":
            return f'<mo stretchy="false">{token}</mo>'
        if token in "+-=/,:":
            return f"<mo>{CHARACTERS.get(token, token)}</mo>"
        raise ValueError(f"unknown character {token!r}, in {self.latex}")

    def command(self, name):
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"/>'
        if name in SYMBOLS:
            return self.name(SYMBOLS[name]) if name in LETTERS else f"<mo>{SYMBOLS[name]}</mo>"
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        if name == "frac":
            return f"<mfrac>{self.atom()}{self.atom()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.atom()}</msqrt>"
        if name == "left":
            opening, row = self.take(), self.row()
            self.take(r"\right")
            return f"<mrow><mo>{opening}</mo>{row}<mo>{self.take()}</mo></mrow>"
        if name == "operatorname":
            return f"<mi>{self.words()}</mi>"
        if name == "mathit":
            return self.name(self.words())
        if name == "text":
            return f"<mtext>{self.words()}</mtext>"
        raise ValueError(f"unknown command \\{name}, in {self.latex}")

    def name(self, text):
        # Without mathvariant, a browser takes a single letter from another font than a word.
        return f'<mi mathvariant="normal">{text}</mi>'

    def words(self):
        """Read a group as it stands, with its spaces."""
        self.take("{")
        first = self.tokens[self.at - 1].end()
        while self.peek() != "}":
            self.take()
        self.take("}")
        return html.escape(self.latex[first : self.tokens[self.at - 1].start()]).replace(" ", "\N{NO-BREAK SPACE}")
