"""Judges what a learner's operation did: the first thing wrong, each gradient's digits, and a wrong one's cause."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .complex_step import entry_errors
from .exercise import built, is_float
from .signs import Case, close, sign

BOUND = 1e-10
MESSAGES = 3  # at most so many causes are shown


@dataclass
class Verdict:
    holds: bool
    lines: list = field(default_factory=list)


@dataclass
class Right:
    """What a draw should give."""

    y: np.ndarray | None  # None for a step
    dy: np.ndarray | None
    gradients: dict  # {argument: derivative}, or of a step {name: result}
    kept: dict  # {name: array}: what the shipped backward pass reads
    products: int | None = None  # of matrices, in the backward pass, where they are counted


@dataclass
class Judge:
    path: Path
    exercise: object  # or None
    name: str
    draws: list
    rights: list
    facts: list
    arrays: dict

    def verdict(self):
        problem = self.first_problem()
        if problem:
            return Verdict(False, [problem])
        rows, why, wrong = self.gradients()
        if wrong:
            return Verdict(False, [*rows, *why, f"wrong: {', '.join(wrong)}"])
        problem = self.float32() or self.spared()
        if problem:
            return Verdict(False, [*rows, problem])
        what = "result" if self.is_step else "gradient"
        return Verdict(True, [*rows, *self.notes(), f"{self.name} holds: every {what} to {BOUND:.0e} or better"])

    @property
    def is_step(self):
        return self.exercise is not None and self.exercise.is_step

    def first_problem(self):
        """The first thing that is wrong before any gradient is compared, or None."""
        for problem in (self.forward, self.shapes, self.dtypes, self.written):
            for i in range(len(self.draws)):
                found = problem(i)
                if found:
                    return f"{self.path.name}: {found} ({self.draws[i].label})"

    def forward(self, i):
        if self.exercise is None or self.rights[i].y is None:
            return None
        shown, right = self.facts[i]["y"], self.rights[i].y
        if shown["type"] not in ("array", "number"):
            return f"the forward pass has changed: its result is a {shown['type']}"
        if tuple(shown["shape"]) != right.shape:
            return f"the forward pass has changed: its result has shape {tuple(shown['shape'])}, not {right.shape}"
        y = self.arrays[f"{i}/y"]
        if not close(y, right):
            at = np.unravel_index(np.argmax(np.abs(y - right)), right.shape)
            return f"the forward pass has changed: result{_index(at)} is {y[at]:.9g}, not {right[at]:.9g}"

    @property
    def wanted(self):
        return list(self.rights[0].gradients)

    def places(self, i):
        """{argument: the number of its gradient among those returned}, or None where there are too few or too many."""
        names, wanted = list(self.draws[i].arguments), list(self.rights[i].gradients)
        count = len(self.facts[i]["gradients"])
        if self.rights[i].y is None or count == len(wanted):
            return {name: n for n, name in enumerate(wanted)} if count == len(wanted) else None
        floats = [name for name, a in self.draws[i].arguments.items() if is_float(a)]
        leading = {max(map(names.index, wanted)) + 1, names.index(floats[-1]) + 1}  # None may stand for what is frozen
        return {name: names.index(name) for name in wanted} if count in leading else None

    def label(self, name):
        return name if self.is_step else f"d{name}"

    def shapes(self, i):
        described = self.facts[i]["gradients"]
        names = [self.label(n) for n in self.rights[i].gradients]
        what = "the step" if self.rights[i].y is None else "backward"
        if described is None:
            return f"{what} returns None: return {', '.join(names)}"
        places = self.places(i)
        if len(described) == 1 and described[0]["type"] == "list":
            return f"{what} returns a list: return a tuple, {', '.join(names)}"
        if places is None:
            results = "1 result" if len(described) == 1 else f"{len(described)} results"
            return f"{what} returns {results}, not {len(names)}: return {', '.join(names)}, in this order"
        for place in set(range(len(described))) - set(places.values()):
            if described[place]["type"] != "None" and self.exercise and self.exercise.asked:
                return f"d{list(self.draws[i].arguments)[place]} is not asked for here: return None in its place"
        for name, place in places.items():
            found, right = described[place], self.rights[i].gradients[name]
            if found["type"] not in ("array", "number"):
                kind = "None" if found["type"] == "None" else f"a {found['type']}, not an array"
                return f"{self.label(name)} is {kind}"
            if tuple(found["shape"]) != right.shape:
                shape = f"{self.label(name)} has shape {tuple(found['shape'])}, not {right.shape}"
                return shape + self._turned(i, name, place)

    def _turned(self, i, name, place):
        given, right = self.arrays[f"{i}/gradient/{place}"], self.rights[i].gradients[name]
        if given.ndim == 2 and given.T.shape == right.shape:
            return ": it is transposed, and right otherwise" if close(given.T, right) else ": is it transposed?"
        for axis in range(given.ndim):
            if given.ndim == right.ndim + 1 and given.sum(axis).shape == right.shape and close(given.sum(axis), right):
                return f": the sum over axis {axis} is missing, and it would be right"
        return ": summed over an axis too many?" if given.ndim < right.ndim else ""

    def dtypes(self, i):
        fact = self.facts[i]
        for name, place in self.places(i).items():
            found, numbers = fact["gradients"][place], self.arrays[f"{i}/gradient/{place}"]
            if found["dtype"] != "float64":
                return f"{self.label(name)} is {found['dtype']}; all inputs are float64, and so should it be"
            if not np.isfinite(numbers).all():
                at = np.argwhere(~np.isfinite(numbers))[0]
                return f"{self.label(name)}{_index(at)} is {numbers[tuple(at)]}"

    def float32(self):
        """Whether float32 stays float32: what is float64 in a model of float32 makes all that follows slow."""
        for i, fact in enumerate(self.facts):
            for name, place in self.places(i).items():
                found = fact.get("float32", ["float32"] * 99)[1 + place]
                if found != "float32":
                    return (
                        f"Every gradient is right, but {self.label(name)} is {found} where the inputs are float32. "
                        "np.zeros(shape) makes float64: use np.zeros_like. np.sqrt(5) does too: use math.sqrt(5)."
                    )

    def spared(self):
        """Whether what nobody asks for is computed all the same."""
        for draw, right, fact in zip(self.draws, self.rights, self.facts):
            if right.products is not None and fact["products"] > right.products:
                return (
                    f"Every gradient is right, but backward forms {fact['products']} products of matrices where "
                    f"{right.products} are enough ({draw.label}): something is computed that nobody asks for."
                )

    def written(self, i):
        fact = self.facts[i]
        if fact["written"]:
            return f"{fact['written'][0]} was written to, and others still need it: write a = a + b instead of a += b"
        for place, name in fact.get("views", ()):
            named = {n: g for g, n in self.places(i).items()}
            if place in named:
                return (
                    f"{self.label(named[place])} is a view of {name}: writing to one changes the other. Return a copy"
                )
        if not fact.get("again", True):
            return "backward called again gives other numbers: something that the forward pass kept was changed"

    def notes(self):
        for i in range(len(self.draws)):
            for place, _ in self.facts[i].get("is_dy", ()):
                name = {p: n for n, p in self.places(i).items()}.get(place)
                if name:
                    return [f"Note: d{name} is dy itself, not a copy; whoever adds to the one changes the other."]
        return []

    def given(self, i):
        """{argument: its gradient as the learner has it}."""
        return {name: self.arrays[f"{i}/gradient/{place}"] for name, place in self.places(i).items()}

    def split(self, gradients):
        """{label: array} of {argument: array}: those that are shown in parts, in parts."""
        apart = {}
        for name, gradient in gradients.items():
            parts = self.exercise.split.get(name) if self.exercise else None
            if parts:
                for part, array in zip(parts, np.split(gradient, len(parts), axis=-1)):
                    apart[f"{self.label(name)}: {part}"] = array
            else:
                apart[self.label(name)] = gradient
        return apart

    def gradients(self):
        """(rows of the table, what is said of the wrong ones, the wrong ones' labels)."""
        given = [self.split(self.given(i)) for i in range(len(self.draws))]
        right = [self.split(r.gradients) for r in self.rights]
        errors = [
            self.split({n: entry_errors(g, self.rights[i].gradients[n]) for n, g in self.given(i).items()})
            for i in range(len(self.draws))
        ]
        labels = dict.fromkeys(label for found in errors for label in found)  # in some draws one may not be asked for
        largest = {label: [e[label].max(initial=0) if label in e else -1 for e in errors] for label in labels}
        worst = {label: int(np.argmax(found)) for label, found in largest.items()}
        wrong = [label for label, i in worst.items() if not errors[i][label].max(initial=0) <= BOUND]
        title = "result" if self.is_step else "gradient"
        rows = [f"{title:<16}{'shape':<10}{'digits':>6}   {'worst entry':<14}{'yours':>15}{'right':>15}"]
        for label, i in worst.items():
            at = np.unravel_index(np.argmax(errors[i][label]), right[i][label].shape)
            error = errors[i][label].max(initial=0)
            digits = 15 if error < 1e-15 else max(0, int(-np.log10(error)))
            values = f"{given[i][label][at]:>15.9g}{right[i][label][at]:>15.9g}"
            mark = f"  wrong ({self.draws[i].label})" if label in wrong else ""
            rows.append(f"{label:<16}{_shape(right[i][label]):<10}{digits:>6}   {_index(at):<14}{values}{mark}")
        return rows, self.why(wrong, given, right) if wrong else [], wrong

    def why(self, wrong, given, right):
        """A line for each cause that was found, and one for what has none."""
        found, lines = self.known(wrong, given, right), []
        for labels, message in found[:MESSAGES]:
            lines.append(f"{', '.join(labels)}: {message}")
        for label in [w for w in wrong if not any(w in labels for labels, _ in found)][:MESSAGES]:
            cases = [
                Case(
                    given[i][label],
                    right[i][label],
                    self.others(i, label, right[i]),
                    self.terms(i),
                    self.draws[i].sizes,
                    self.draws[i].rows,
                )
                for i in range(len(self.draws))
                if label in given[i]
            ]
            none = f"{label}: no cause was found: no known mistake gives these numbers, and no general sign fits."
            lines.append(sign(label, cases) or none)
        return lines

    def known(self, wrong, given, right):
        """[(labels, message)] of the known mistakes that give exactly the learner's numbers in every draw."""
        left, found = set(wrong), []
        if self.exercise is None:
            return found
        matches = []
        for _, message, text in self.exercise.mistakes():
            spoiled = [
                self.split(g) for g in spoiled_gradients(self.exercise, built(text, self.name), self.draws, self.rights)
            ]
            labels = [
                label
                for label in wrong
                if all(
                    label not in given[i] or (label in s and close(given[i][label], s[label]))
                    for i, s in enumerate(spoiled)
                )
            ]
            if labels:
                matches.append((labels, message))
        for labels, message in sorted(matches, key=lambda match: -len(match[0])):
            if left & set(labels):
                found.append((labels, message))
                left -= set(labels)
        return found

    def others(self, i, label, right):
        others = {n: a for n, a in right.items() if n != label and a.shape == right[label].shape}
        dy = self.rights[i].dy
        return others | ({"dy as it came": dy} if dy is not None and dy.shape == right[label].shape else {})

    def terms(self, i):
        kept = {n.split("/")[-1]: a for n, a in self.arrays.items() if n.startswith(f"{i}/kept/")}
        inputs = {n: a for n, a in self.draws[i].arguments.items() if is_float(a)}
        dy = {"dy": self.rights[i].dy} if self.rights[i].dy is not None else {}
        return self.rights[i].kept | kept | inputs | dy


def spoiled_gradients(exercise, function, draws, rights):
    """[{argument: gradient}] of a function of ours on all draws; a shape that is not the right one is left out."""
    found = []
    for draw, right in zip(draws, rights):
        if right.y is None:
            gradients = function(**draw.arguments)
        else:
            gradients = function(**draw.arguments)[1](right.dy if right.dy.ndim else right.dy[()])
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        names = list(draw.arguments if len(gradients) != len(right.gradients) else right.gradients)
        named = dict(zip(names, gradients))
        found.append(
            {n: named[n] for n, r in right.gradients.items() if named[n] is not None and named[n].shape == r.shape}
        )
    return found


def _index(at):
    return "[" + ", ".join(str(int(i)) for i in at) + "]" if len(at) else ""


def _shape(array):
    return str(array.shape).replace(" ", "")
