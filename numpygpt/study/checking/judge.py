"""Judges what a learner's operation did: the first thing wrong, each gradient's digits, and a wrong one's cause."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...system.errors import counted
from .calls import gradients_of, positions
from .complex_step import BOUND, agree, entry_errors
from .exercise import built, is_float
from .learner_process import FORGOTTEN, error_at, used_nowhere
from .places import Intermediate, Places
from .signs import Case, close, sign
from .verdict import Row, Verdict

MESSAGES = 3  # at most so many causes are shown


@dataclass
class Right:
    """The right results of a draw."""

    y: np.ndarray | None  # None for a step
    dy: np.ndarray | None
    gradients: dict  # {argument: derivative}, or of a step {name: result}
    kept: dict  # {name: array}: what the shipped gradients read
    products: int | None = None  # of matrices, in the backward pass, where they are counted


@dataclass
class Judge:
    label: str  # of the file, or of the function where there is no file
    exercise: object  # or None
    name: str
    draws: list
    rights: list
    facts: list
    arrays: dict

    @cached_property
    def places(self):
        return Places(self.facts, self.arrays)

    def verdict(self):
        """Return the Verdict: each gradient is judged as soon as it is written."""
        for problem in (self.forward, self.count, self.written):
            for i, draw in enumerate(self.draws):
                if found := problem(i):
                    return Verdict(False, [f"{self.label}: {found} ({draw.label})"])
        states, problems, compared = {}, [], []
        for name in dict.fromkeys(name for right in self.rights for name in right.gradients):
            found = next(filter(None, (self.problem(i, name) for i in range(len(self.draws)))), None)
            if found is None:
                compared.append(name)
            elif found != "is not written yet":
                problems.append(found)
            states[name] = found if found == "is not written yet" else "is wrong" if found else "holds"
        rows, wrong = self.table(compared)
        states |= dict.fromkeys(wrong, "is wrong")
        rows += [self.row_of(one) for one in self.places.shown()]
        title = "result" if self.is_step else "gradient"
        if set(states.values()) != {"holds"}:
            places = self.where(states)
            said = [*places, *self.why(wrong, bool(places)), *problems[:MESSAGES]]
            unused = self.facts[0].get("unused") if "is not written yet" in states.values() else None
            said += [used_nowhere(unused)] if unused else []
            inner = {one.name: "is wrong" if one.is_wrong else "holds" for one in self.places.shown()}
            states = inner | {self.named(n): state for n, state in states.items()}
            said.append(", ".join(f"{name} {state}" for name, state in states.items()))
            if self.exercise and "is wrong" in states.values():
                said.append(f"Stuck? python -m numpygpt.exercise {self.exercise.name} --hint")
            return Verdict(False, said, rows, title)
        if problem := self.spared():
            return Verdict(False, [problem], rows, title)
        holds = f"{self.name} holds: every {title} to {BOUND:.0e} or better"
        return Verdict(True, [*self.notes(), holds], rows, title)

    @property
    def is_step(self):
        return self.exercise is not None and self.exercise.is_step

    def named(self, name):
        return name if self.is_step else f"d{name}"

    def forward(self, i):
        if self.exercise is None or self.is_step:
            return None
        shown, right = self.facts[i]["y"], self.rights[i].y
        if tuple(shown["shape"]) != right.shape:
            return f"the forward pass has changed: its result has shape {tuple(shown['shape'])}, not {right.shape}"
        y = self.arrays[f"{i}/y"]
        if not close(y, right):
            at = np.unravel_index(np.argmax(np.abs(y - right)), right.shape)
            return f"the forward pass has changed: result{_index(at)} is {y[at]:.9g}, not {right[at]:.9g}"

    def count(self, i):
        found, names = self.facts[i]["gradients"], [self.named(n) for n in self.rights[i].gradients]
        functions, back = self.facts[i].get("names") or [], self.facts[i].get("back")
        alone = back in names and len(names) > 1  # `return y, (dx)` for one function, say
        what = "the step" if self.is_step else "the operation" if functions or alone else "backward"
        twice = [name for name in dict.fromkeys(functions) if name in names and functions.count(name) > 1]
        if missing := [name for name in names if name not in functions] if twice else []:
            return f"the operation returns {twice[0]} twice, and no {missing[0]}: return {', '.join(names)}"
        if self.at(i) is None:
            if len(found) == 1 and found[0]["type"] == "list":
                return f"{what} returns a list: return a tuple, {', '.join(names)}"
            thing = "function" if what == "the operation" else "result"
            count = counted(len(found), thing)
            numbers = [n for n, a in self.draws[i].arguments.items() if type(a) is float and self.exercise is None]
            also = f". A number has a gradient if you give it as an array: {numbers[0]}=np.array(…)" if numbers else ""
            return f"{what} returns {count}, not {len(names)}: return {', '.join(names)}, in this order{also}"
        for place in set(range(len(found))) - set(self.at(i).values()):
            if found[place]["type"] != "None" and self.exercise and self.exercise.asked:
                return f"d{self.exercise.gradients[place]} is not asked for here: return None in its place"

    def at(self, i):
        """Return {argument: the number of its gradient among those returned}, or None for too few or too many."""
        return positions(self.draws[i].arguments, self.rights[i].gradients, self.facts[i], self.is_step)

    def written(self, i):
        fact = self.facts[i]
        if fact["written"]:
            return f"{fact['written'][0]} was written to, and others still need it: write a = a + b instead of a += b"
        if not fact.get("again", True):
            return (
                "a second call gives other numbers: an array of np.empty is not filled everywhere, or something that "
                "the forward pass kept was changed"
            )

    def problem(self, i, name):
        """Return why the gradient of that name cannot be compared in draw i, or None."""
        if name not in self.rights[i].gradients:
            return None
        fact, label, place = self.facts[i], self.named(name), self.at(i)[name]
        found, right, draw = fact["gradients"][place], self.rights[i].gradients[name], self.draws[i].label
        if "forgotten" in found:
            return f"{label}, line {found['forgotten']}: {FORGOTTEN}"
        if found["type"] == "None":
            return "is not written yet"
        if found["type"] == "fails":
            return error_at(found["where"], f" ({draw})")
        if found["type"] not in ("array", "number"):
            return f"{label} is a {found['type']}, not an array"
        given = self.arrays[f"{i}/gradient/{place}"]
        if given.shape != right.shape:
            return f"{label} has shape {given.shape}, not {right.shape}{_turned(given, right)} ({draw})"
        if found["dtype"] != "float64":
            return f"{label} is {found['dtype']}; all inputs are float64, and so should it be"
        if not np.isfinite(given).all():
            at = np.argwhere(~np.isfinite(given))[0]
            return f"{label}{_index(at)} is {given[tuple(at)]} ({draw})"
        for number, other in fact.get("views", ()):
            if number == place:
                return f"{label} is a view of {other}: writing to one changes the other. Return a copy"

    def float64(self):
        """Return a note on what is float64 where all inputs are float32: it makes all that follows slow."""
        for i, fact in enumerate(self.facts):
            for name, place in self.at(i).items():
                found = fact.get("float32", ["float32"] * 99)[place]
                if found != "float32":
                    return [
                        f"Note: {self.named(name)} is {found} where the inputs are float32, which makes training "
                        "slower. np.zeros(shape) and np.eye(n) make float64: give them a dtype. np.sqrt(5) does too: "
                        "use math.sqrt(5)."
                    ]
        return []

    def spared(self):
        """Return which products of matrices nobody needs."""
        for draw, right, fact in zip(self.draws, self.rights, self.facts):
            if right.products is not None and fact["products"] > right.products:
                return (
                    f"Every gradient is right, but backward forms {fact['products']} products of matrices where "
                    f"{right.products} are enough ({draw.label}): it computes a gradient that nobody asks for."
                )

    def notes(self):
        notes, names = self.float64(), {place: name for name, place in self.at(0).items()}
        for place, _ in self.facts[0].get("is_dy", ()):
            if place in names:
                text = f"Note: d{names[place]} is dy itself, not a copy. Adding to one in place changes the other."
                return [*notes, text]
        return notes

    def given(self, i, name):
        return self.arrays[f"{i}/gradient/{self.at(i)[name]}"]

    def table(self, names):
        """Return (rows of the table, names of the wrong gradients)."""
        if not names:
            return [], []
        rows, wrong = [], []
        for name in names:
            pairs = {
                i: (self.given(i, name), r.gradients[name]) for i, r in enumerate(self.rights) if name in r.gradients
            }
            rows.append(self.row(self.named(name), pairs))
            wrong += [] if rows[-1].wrong_in is None else [name]
        return rows, wrong

    def row_of(self, one):
        """Return the table's row of an Intermediate."""
        return self.row(one.name, {i: (found["given"], found["right"]) for i, found in one.found.items()})

    def row(self, label, pairs):
        """Return the Row of {draw: (given, right)}: of the draw in which it is worst."""
        errors = {i: np.nan_to_num(entry_errors(*pair), nan=np.inf) for i, pair in pairs.items()}
        i = max(errors, key=lambda i: errors[i].max(initial=0))
        (given, right), error = pairs[i], errors[i].max(initial=0)
        at = np.unravel_index(np.argmax(errors[i]), right.shape)
        digits = 15 if error < 1e-15 else int(max(0, -np.log10(error)))
        wrong_in = None if error <= BOUND else self.draws[i].label
        return Row(label, _shape(right), digits, _index(at), given[at], right[at], wrong_in)

    def where(self, states):
        """Return what is wrong first, with its line, and what a wrong intermediate looks like."""
        wrong = {self.named(name): name for name, state in states.items() if state == "is wrong"}
        found = self.places.first_wrong(wrong)
        if found is None:
            return self.places.differing()
        what, message, order = found
        cause = sign(what.name, self.cases_inside(what)) if isinstance(what, Intermediate) else None
        return [message, *filter(None, [cause]), *self.places.differing(order)]

    def shown_draw(self):
        """Return the number of the draw in which to look at the operation: the first in which something is wrong."""
        wrong = [i for one in self.places.wrong for i in one.wrong]
        wrong = wrong or [i for i in range(len(self.rights)) if any(self.wrong_in(i))]
        return min(wrong, default=0)

    def wrong_in(self, i):
        """Yield the arguments whose gradients are wrong in draw i."""
        for name, right in self.rights[i].gradients.items() if self.at(i) else ():
            if self.problem(i, name) is None and not agree(self.given(i, name), right):
                yield name

    def beside(self, i):
        """Return [(names, numbers, right numbers)] of what is wrong in draw i, with the names that its lines give."""
        found = [(one, one.found[i]) for one in self.places.wrong if i in one.wrong]
        arrays = [({one.name}, numbers["given"], numbers["right"]) for one, numbers in found]
        for name in self.wrong_in(i):
            place = self.facts[i]["inside"] and self.facts[i]["inside"]["places"].get(name)
            names = {self.named(name), f"backward[{self.at(i)[name]}]", place[2] if place else None}
            arrays.append((names, self.given(i, name), self.rights[i].gradients[name]))
        return arrays

    def why(self, wrong, placed):
        """Return a line for each cause that was found and, without a place, for each gradient that has no cause."""
        found = self.known(wrong)[:MESSAGES]
        lines = [f"{', '.join(map(self.named, names))}: {message}" for names, message in found]
        explained = {name for one in self.places.wrong for name in one.mends}
        explained |= {name for names, _ in found for name in names}
        for name in [w for w in wrong if w not in explained][:MESSAGES]:
            label = self.named(name)
            cases = [self.case(i, name) for i, right in enumerate(self.rights) if name in right.gradients]
            none = f"{label}: no cause was found: no known mistake gives these numbers, and no general sign fits."
            lines += filter(None, [sign(label, cases) or (None if placed else none)])
        return lines

    def known(self, wrong):
        """Return [(names, message)] of the known mistakes that give exactly the learner's numbers in every draw."""
        matches = []
        for _, message, text in self.exercise.mistakes if self.exercise and wrong else ():
            spoiled = spoiled_gradients(self.exercise, built(text, self.name), self.draws, self.rights)
            same = [
                name
                for name in wrong
                if all(
                    name not in right.gradients or (name in s and close(self.given(i, name), s[name]))
                    for i, (right, s) in enumerate(zip(self.rights, spoiled))
                )
            ]
            matches += [(same, message)] if same else []
        left, found = set(wrong), []
        for names, message in sorted(matches, key=lambda match: -len(match[0])):
            if left & set(names):
                found.append((names, message))
                left -= set(names)
        return found

    def case(self, i, name):
        """Return what `sign` looks at: the gradient, and the arrays at hand."""
        return self.case_of(i, self.named(name), self.given(i, name), self.rights[i].gradients[name])

    def cases_inside(self, one):
        """Return the Cases of an Intermediate."""
        return [self.case_of(i, one.name, found["given"], found["right"]) for i, found in one.found.items()]

    def case_of(self, i, label, given, right):
        rights, draw, dy = self.rights[i].gradients, self.draws[i], self.rights[i].dy
        others = {self.named(n): a for n, a in rights.items()}
        others |= {one.name: one.found[i]["right"] for one in self.places.intermediates if i in one.found}
        others = {n: a for n, a in others.items() if n != label and a.shape == right.shape}
        if np.shape(dy) == right.shape:
            others["dy"] = dy
        kept = {n.split("/")[-1]: a for n, a in self.arrays.items() if n.startswith(f"{i}/kept/")}
        inputs = {n: a for n, a in draw.arguments.items() if is_float(a)}
        terms = self.rights[i].kept | kept | inputs | ({} if dy is None else {"dy": dy})
        return Case(given, right, others, terms, draw.sizes, draw.rows)


def spoiled_gradients(exercise, function, draws, rights):
    """Return [{argument: gradient}] of a function of ours on all draws, without gradients of a wrong shape."""
    found = []
    for draw, right in zip(draws, rights):
        result = function(**draw.arguments)
        gradients = result if exercise.is_step else gradients_of(result[1], right.dy[()])
        names = exercise.gradients or right.gradients
        found.append(
            {
                n: np.asarray(g)
                for n, g in zip(names, gradients)
                if n in right.gradients and np.shape(g) == right.gradients[n].shape
            }
        )
    return found


def _turned(given, right):
    """Return what a wrong shape looks like."""
    if given.ndim == 2 and given.T.shape == right.shape:
        return ": it is transposed, and right otherwise" if close(given.T, right) else ": is it transposed?"
    if given.size == right.size and close(given.reshape(right.shape), right):
        return ": the numbers are right, the axes are not. Is it keepdims=True?"
    for axis in range(given.ndim):
        if given.ndim == right.ndim + 1 and given.sum(axis).shape == right.shape and close(given.sum(axis), right):
            return f": the sum over axis {axis} is missing, and it would be right"
    return ": summed over an axis too many?" if given.ndim < right.ndim else ""


def _index(at):
    return "[" + ", ".join(str(int(i)) for i in at) + "]" if len(at) else ""


def _shape(array):
    return str(array.shape).replace(" ", "")
