"""One operation on a tiny example, forward and back, as text that fits a terminal."""

import textwrap

import numpy as np

from ...system.errors import InputError
from .beside import right_of, wrong_entries
from .check import operation_checks
from .operation import examples, trace_operation
from .words import words_of

INDENT = 8  # of the values, under the code
WIDEST = 110  # of a line of words or numbers
# The terminal's codes: a heading, a value's name, a line number, a check that holds, one that does not
HEADING, NAME, NUMBER, GOOD, BAD = "1", "36", "2", "32", "1;31"


def listed(width) -> str:
    """Return a line for each operation: its name, and what its forward pass does."""
    lines = []
    for name, (op, arguments) in examples().items():
        first = words_of(trace_operation(op, arguments))[0].split(". ")[0].rstrip(".")
        lines += textwrap.wrap(f"{name:<22} {first}", min(width, WIDEST), subsequent_indent=" " * 23)
    return "\n".join(lines)


def in_terminal(name, width, colour=False) -> str:
    """Return the operation's lines with their values on the tiny example, then its gradients' lines, then the check.

    width    characters in a line
    colour   whether the text may have a terminal's colours

    Raises InputError for an unknown name.
    """
    known = examples()
    if name not in known:
        raise InputError(f"--op {name}: no such operation; use one of {', '.join(known)}")
    return step_in_terminal(trace_operation(*known[name]), width, colour)


def step_in_terminal(step, width, colour=False) -> str:
    """Return the text of one operation. Its arrays should be small."""
    text = _Text(width, colour, step.beside)
    forward, backward, why = words_of(step)
    name = step.kind.lower()
    text.words(f"{name}, forward", forward)
    text.calls(step.forward)
    text.words(f"{name}, {'why' if step.dy is None else 'backward'}", backward, why)
    text.calls(step.backward or ())
    if step.gradients:
        text.check(operation_checks(step))
    return "\n".join(text.lines)


class _Text:
    """The lines of a text."""

    def __init__(self, width, colour, beside=()):
        self.width, self.colour, self.lines, self.seen, self.beside = width, colour, [], set(), beside

    def styled(self, text, style):
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour else text

    def words(self, heading, text, reasons=()):
        """Add a heading with a paragraph, and a line for each reason."""
        width = min(self.width, WIDEST)
        first, *rest = textwrap.wrap(f"{heading}: {text}" if text else heading, width)
        self.lines += [self.styled(heading, HEADING) + first[len(heading) :], *rest]
        for reason in reasons:
            self.lines += textwrap.wrap(reason, width, initial_indent="  - ", subsequent_indent="    ")
        self.lines.append("")

    def calls(self, tops):
        """Add the calls and those inside them. A call is left out where the same lines had the same values before."""
        for top in tops:
            for call in top.shown():
                body = self.call(call)
                if "\n".join(body) not in self.seen:
                    self.seen.add("\n".join(body))
                    if call.called_from:
                        inner = call.function.nested and call.function.outer != call.parent.function.outer
                        what = f"{call.function.name} of {call.function.outer}" if inner else call.function.name
                        self.lines.append(self.styled(f"{what}, called in line {call.called_from}", HEADING))
                    self.lines += [*body, ""]

    def call(self, call):
        """Return the lines of a call, with the values that each of them made under it."""
        lines = []
        for number, text in call.function.shown():
            lines += self.code(number, text)
            is_head = text.strip().startswith("def ")
            for values in [call.constants | call.arguments] if is_head else call.lines.get(number, ()):
                for name, value in values.items():
                    lines += self.value(name, value)
        return lines

    def code(self, number, text):
        """Return a line of code. A long one goes on under itself, indented."""
        indent, more = len(text) - len(text.lstrip()), "# " if text.lstrip().startswith("#") else "    "
        first, *rest = textwrap.wrap(
            text.strip(),
            self.width,
            initial_indent=" " * (6 + indent),
            subsequent_indent=" " * (6 + indent) + more,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return [self.styled(f"{number:>4}", NUMBER) + first[4:], *rest]

    def value(self, name, value):
        """Return the lines of `name` and its value. Under a wrong one are the right numbers."""
        right = right_of(name, value, self.beside)
        if right is None:
            return self.numbers(name, value)
        wrong = wrong_entries(value, right)
        marked = self.numbers(name, value, wrong) + self.numbers(f"{name}, right", right)
        return [self.styled(f"{'':{INDENT}}wrong where * is, in {wrong.sum()} of {wrong.size} entries:", BAD), *marked]

    def numbers(self, name, value, wrong=None):
        """Return the lines of `name` and its numbers. Entries that are wrong have a star."""
        room = min(self.width, WIDEST) - INDENT - len(name) - 3
        if wrong is not None:
            shown = [f"{x:.4f}{'*' if bad else ' '}" for x, bad in zip(np.ravel(value), np.ravel(wrong))]
            wide = max(map(len, shown))
            value = np.array([text.rjust(wide) for text in shown]).reshape(np.shape(value))
            text = np.array2string(value, max_line_width=room, formatter={"all": str})
        elif np.ndim(value):
            text = np.array2string(
                np.asarray(value), precision=4, suppress_small=True, max_line_width=room, floatmode="maxprec_equal"
            )
        else:
            text = f"{value:.6g}"
        first, *rest = [line for line in text.splitlines() if line.strip()]
        hanging = " " * (INDENT + len(name) + 3)
        return [f"{'':{INDENT}}{self.styled(name, NAME)} = {first}", *(hanging + line for line in rest)]

    def check(self, checks):
        """Add a table with a line for each Check."""
        room = self.width - 30 - len("  WRONG") * (not all(c.holds for c in checks))  # the entry and the digits take 30
        wide = max(14, min(22, room // 3))  # of a number
        digits = wide - 8
        self.lines.append(self.styled("the check: d sum(y * dy) / d (one entry)", HEADING))
        self.lines.append(
            f"{'entry':<16}{'by hand':>{wide}}{'complex step':>{wide}}{'digits':>7}{'difference':>{wide}}{'digits':>7}"
        )
        for c in checks:
            entry = f"{c.argument}[{', '.join(map(str, c.index))}]"
            agree = self.styled(f"{c.digits:>7.0f}", GOOD if c.holds else BAD)
            self.lines.append(
                f"{entry:<16}{c.by_hand:>{wide}.{digits}g}{c.complex_step:>{wide}.{digits}g}{agree}"
                f"{c.difference:>{wide}.{digits}g}{c.difference_digits:>7.0f}" + ("" if c.holds else "  WRONG")
            )
