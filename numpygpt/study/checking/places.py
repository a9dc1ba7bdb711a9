"""Where an operation goes wrong first: what was found of its intermediates in every draw, put together.

An intermediate is called wrong only if the right numbers in its place make something else right, and nothing wrong.
So a gradient by another convention, divided by sqrt_d a line earlier than here, say, is never called wrong.
"""

import math
from dataclasses import dataclass
from functools import cached_property

MOST = 4  # names that are not compared, in a message


@dataclass
class Intermediate:
    """One array of the backward pass, in all draws in which it is compared.

    found   {draw: what was found, with `given` and `right`}
    """

    name: str
    found: dict

    @property
    def first(self):
        return next(iter(self.found.values()))

    @property
    def wrong(self):
        return [i for i, found in self.found.items() if found["wrong"]]

    @property
    def is_wrong(self):
        found = [self.found[i] for i in self.wrong]
        return any(f["mends"] for f in found) and not any(f["breaks"] for f in found)

    @property
    def differs(self):
        """Whether it is not the derivative, although nothing shows that it should be."""
        found = [self.found[i] for i in self.wrong]
        return bool(found) and not any(f["mends"] or f["breaks"] or f["other"] for f in found)

    @property
    def mends(self):
        return {name for found in self.found.values() for name in found["mends"]}


class Places:
    """What is known of the places of an operation; nothing where its text could not be rewritten."""

    def __init__(self, facts, arrays):
        self.insides = [fact.get("inside") for fact in facts]
        self.arrays = arrays
        if None in self.insides:
            self.insides = []

    @cached_property
    def intermediates(self):
        """Return [Intermediate] in the order in which they are made."""
        found, left_out = {}, {tuple(key) for inside in self.insides for key in inside.get("left_out", ())}
        for i, inside in enumerate(self.insides):
            for j, local in enumerate(inside.get("locals", ())):
                numbers = {part: self.arrays[f"{i}/inside/{j}/{part}"] for part in ("given", "right")}
                found.setdefault((local["scope"], local["name"]), {})[i] = local | numbers
        return [Intermediate(key[1], draws) for key, draws in found.items() if key not in left_out]

    @property
    def wrong(self):
        return [one for one in self.intermediates if one.is_wrong]

    def shown(self):
        """Return [Intermediate] to be listed, one of each name: the wrong ones, and those that hold everywhere."""
        names = dict.fromkeys(one.name for one in self.intermediates)
        for name in names:
            all_of = [one for one in self.intermediates if one.name == name]
            wrong = [one for one in all_of if one.is_wrong]
            if wrong or not any(one.wrong for one in all_of):
                yield (wrong or all_of)[0]

    def first_wrong(self, wrong):
        """Return (Intermediate or the name of a gradient, the message, its place in the order), or None.

        wrong   {label: argument} of the gradients that are wrong
        """
        places = [(one.first["order"], one.name, one.first["lines"], one.first["feeds"], one) for one in self.wrong]
        for label, argument in wrong.items():
            here = [inside["places"].get(argument) for inside in self.insides]
            places += [(order, label, lines, feeds, argument) for order, lines, _, feeds in filter(None, here)][:1]
        if not places:
            return None
        order, name, lines, feeds, what = min(places, key=lambda place: place[0])
        name += " as returned" * (name in feeds)  # a local of the function's name goes into what it returns
        unsure = ", ".join(f"{other} ({_lines(at)})" for other, at in list(feeds.items())[:MOST])
        unsure = f", or what goes into it and is not compared: {unsure}" if unsure else ""
        return what, f"first wrong: {name}, {_lines(lines)}{unsure}{self._text(lines)}", order

    def differing(self, before=math.inf):
        """Return a remark on each intermediate that is made before that place, is not the derivative and may be wrong.

        Two mistakes may hide each other: the right numbers in place of one then mend nothing.
        """
        return [
            f"{one.name}, {_lines(one.first['lines'])}, is not the gradient with respect to {one.first['of']}. "
            "If it stands for something else, ignore this."
            for one in self.intermediates
            if one.differs and one.first["order"] < before
        ]

    def _text(self, lines):
        texts = [inside["text"].get(str(line)) for inside in self.insides for line in lines]
        return "".join(f"\n    {text}" for text in dict.fromkeys(filter(None, texts)))


def _lines(lines):
    lines = sorted(lines)
    if len(lines) == 1:
        return f"line {lines[0]}"
    if lines == list(range(lines[0], lines[-1] + 1)) and len(lines) > 2:
        return f"lines {lines[0]} to {lines[-1]}"
    return f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}"
