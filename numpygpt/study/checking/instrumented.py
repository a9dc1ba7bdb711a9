"""Rewrites an operation so that each array with a name can be watched, changed or replaced while the operation runs.

After each statement of the forward pass that makes `scores` comes `scores = PROBE.made("scores", line, scores)`. After
each statement of a function inside it that makes `dscores` comes `dscores = PROBE.seen(scope, fresh, "dscores", line,
dscores)`, and `return value` becomes `return PROBE.returned(scope, name, line, value)`. A probe returns the value as it
is, or another one. The learner's own function is never changed.
"""

import ast
import inspect
import textwrap
import types
from dataclasses import dataclass, field
from functools import lru_cache

PROBE = "__numpygpt_probe__"


@dataclass
class Scope:
    """A function inside an operation, as far as its text tells.

    stored     {name: [lines that give it a value or write to it]}
    reads      {line: names that the statement there reads}
    returned   {line of a return: [(name or None, line) of each part]}
    loops      names that get a value inside a loop, or of another scope: they are not compared
    looped     {name: [lines inside loops that give it a value or write to it]}
    """

    name: str
    parameters: set
    own: set  # the names that are its own: a name from around it must not be given a value here
    stored: dict = field(default_factory=dict)
    reads: dict = field(default_factory=dict)
    returned: dict = field(default_factory=dict)
    loops: set = field(default_factory=set)
    looped: dict = field(default_factory=dict)


@dataclass
class Instrumented:
    """The rewritten text of an operation. `forward` and `scopes` describe the text that the learner wrote."""

    function: object
    code: object
    lines: list
    first: int  # the number of its first line
    forward: Scope
    scopes: dict  # {scope: Scope}

    def built(self, probe):
        """Return the operation with this probe in it."""
        function = self.function
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
        namespace = {**function.__globals__, PROBE: probe}
        exec(self.code, namespace)
        made = namespace["__factory__"](*(cell.cell_contents for cell in cells.values()))
        made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        return types.MethodType(made, function.__self__) if inspect.ismethod(function) else made

    def text(self, line):
        """Return a line of the learner's text."""
        return self.lines[line - self.first].strip()


def tree_of(function):
    """Return (syntax tree, lines, the first one's number) of a function's definition, or None where it has no text."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # no file, a function of C, a lambda in the middle of a line
        return None
    if not isinstance(tree.body[0], ast.FunctionDef):
        return None
    ast.increment_lineno(tree, max(first, 1) - 1)
    return tree.body[0], lines, max(first, 1)


def forgotten_return(function):
    """Return the line where a function ends that does something and returns nothing, else None."""
    found = tree_of(function)
    if found is None:
        return None
    node, _, _ = found
    returns = any(isinstance(n, ast.Return) and n.value is not None for n in _of_this_scope(node))
    does = [n for n in node.body if not isinstance(n, ast.Pass | ast.Return) and not _is_constant(n)]
    return node.end_lineno if does and not returns else None


def unused(function):
    """Return [(name, line)] of what is written inside a function and used nowhere: functions, and a `d…` in them."""
    found = tree_of(function)
    if found is None:
        return []
    node, used = found[0], {n.id for n in ast.walk(found[0]) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    inner = [n for n in node.body if isinstance(n, ast.FunctionDef) and not all(map(_is_constant, n.body))]
    made = {n.name: n.lineno for n in inner}
    statements = [n for f in inner for n in _of_this_scope(f) if isinstance(n, ast.stmt)]
    made |= {name: n.lineno for n in statements for name in _stored(n) if name.startswith("d")}
    return [(name, line) for name, line in made.items() if name not in used]


def _is_constant(node):
    """Whether a statement is a docstring or `...`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@lru_cache(1)  # every draw of a check asks for the same function
def instrumented(function):
    """Return the Instrumented of a function, or None where there is no text of it."""
    function = inspect.unwrap(function)
    found = tree_of(function)
    if found is None:
        return None
    node, lines, first = found
    forward, scopes = _scope(node), {}
    rewriter = _Forward(forward, scopes)
    _without_signature(node)
    node.body = [*(_hook("made", name, node, name) for name in sorted(forward.parameters)), *rewriter.body(node.body)]
    factory = ast.parse(f"def __factory__({', '.join(function.__code__.co_freevars)}):\n    return {node.name}")
    factory.body[0].body.insert(0, node)
    code = compile(ast.fix_missing_locations(factory), function.__code__.co_filename, "exec")
    return Instrumented(function, code, lines, first, forward, scopes)


def _without_signature(node):
    """Take out what is evaluated where a function is defined: it has been evaluated already."""
    node.decorator_list, node.returns = [], None
    for argument in _arguments(node):
        argument.annotation = None
    node.args.defaults = [ast.Constant(None) for _ in node.args.defaults]
    node.args.kw_defaults = [default and ast.Constant(None) for default in node.args.kw_defaults]


def _arguments(node):
    a = node.args
    return [x for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x]


def _parameters(node):
    return {argument.arg for argument in _arguments(node)}


def _scope(node):
    parameters, taken = _parameters(node), set()
    own = set(parameters)
    for inner in _of_this_scope(node):
        own |= _stored(inner).keys()
        if isinstance(inner, ast.Nonlocal | ast.Global):
            taken |= set(inner.names)
    return Scope(node.name, parameters, own - taken)


def _of_this_scope(node):
    """Yield the nodes of a function, without those of the functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _of_this_scope(child)


class _Rewriter:
    """Adds a hook after each statement of a scope that gives a name a value or writes to its array."""

    def __init__(self, scope):
        self.scope = scope

    def body(self, statements):
        return [new for statement in statements for new in self.statement(statement)]

    def statement(self, node):
        if isinstance(node, ast.FunctionDef):
            return self.function(node)
        if isinstance(node, ast.If | ast.With | ast.Try):
            for part in ("body", "orelse", "finalbody"):
                if getattr(node, part, None):
                    setattr(node, part, self.body(getattr(node, part)))
            for handler in getattr(node, "handlers", ()):
                handler.body = self.body(handler.body)
            return [node]
        if isinstance(node, ast.Return):
            return [self.returning(node)]
        if isinstance(node, ast.For | ast.While | ast.Match | ast.ClassDef):
            return self.opaque(node)
        return [node, *self.hooks([*_stored(node), *_written(node)], node)]

    def hooks(self, names, node):
        """Return the hooks of these names, and note that the statement gives them a value."""
        names = [name for name in dict.fromkeys(names) if name in self.scope.own]
        for name in names:
            self.scope.stored.setdefault(name, []).append(node.lineno)
        self.reading(node)
        return [self.hook(name, node) for name in names]

    def reading(self, node):
        self.scope.reads.setdefault(node.lineno, set()).update(_read(node))


class _Forward(_Rewriter):
    def __init__(self, scope, scopes):
        super().__init__(scope)
        self.scopes = scopes

    def function(self, node):
        key = node.name if node.name not in self.scopes else f"{node.name}, line {node.lineno}"
        scope = self.scopes[key] = _scope(node)
        node.body = _Backward(key, scope, self.scopes).body(node.body)
        return [node, _hook("defined", key, node, node.name)]

    def returning(self, node):
        self.scope.returned[node.lineno] = _parts(node)
        return node

    def opaque(self, node):
        self.scope.loops |= _names_made(node)
        return [node]

    def hook(self, name, node):
        return _hook("made", name, node, name)


class _Backward(_Rewriter):
    def __init__(self, key, scope, scopes):
        super().__init__(scope)
        self.key, self.scopes = key, scopes

    def function(self, node):
        scope = self.scopes[f"{self.key}.{node.name}"] = _scope(node)
        node.body = _Backward(f"{self.key}.{node.name}", scope, self.scopes).body(node.body)
        return [node]

    def returning(self, node):
        self.scope.returned[node.lineno] = _parts(node)
        for part in _values(node):
            self.reading(part)
        if node.value is not None:
            call = f"{PROBE}.returned({self.key!r}, {self.scope.name!r}, {node.lineno}, 0)"
            wrapped = ast.copy_location(ast.parse(call, mode="eval").body, node)
            wrapped.args[3] = node.value
            node.value = wrapped
        return node

    def opaque(self, node):
        """Of a loop, compare an array that is filled inside it when the loop is over."""
        self.scope.loops |= {name for inner in ast.walk(node) for name in _stored(inner)}
        for inner in ast.walk(node):
            for name in [*_stored(inner), *_written(inner)] if isinstance(inner, ast.stmt) else ():
                self.scope.looped.setdefault(name, []).append(inner.lineno)
        if not isinstance(node, ast.For | ast.While):
            self.scope.loops |= _names_made(node)
            return [node]
        filled = [name for inner in ast.walk(node) for name in _written(inner) if name not in self.scope.loops]
        _Returning(self).visit(node)
        return [node, *self.hooks(filled, node)]

    def hook(self, name, node):
        fresh = isinstance(node, ast.Assign | ast.AnnAssign) and name in _stored(node) and name not in _read(node.value)
        return _hook("seen", name, node, name, f"{self.key!r}, {fresh}, ")


class _Returning(ast.NodeTransformer):
    """Hooks the returns inside a loop."""

    def __init__(self, rewriter):
        self.rewriter = rewriter

    def visit_Return(self, node):
        return self.rewriter.returning(node)

    def visit_FunctionDef(self, node):
        return node


def _hook(kind, name, node, value, scope=""):
    line = node.lineno
    text = f"{PROBE}.{kind}({scope}{name!r}, {line}, {value})"
    statement = ast.parse(text if kind == "defined" else f"{value} = {text}").body[0]
    for inner in ast.walk(statement):
        ast.copy_location(inner, node)
    return statement


def _values(node):
    """Return the parts of what a return gives."""
    value = node.value
    return value.elts if isinstance(value, ast.Tuple) else [value] if value else []


def _parts(node):
    return [(part.id if isinstance(part, ast.Name) else None, part.lineno) for part in _values(node)]


def _read(node):
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _stored(node):
    """Return {name: None} of the names to which this statement itself gives a value."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return {}
    parts = [part for part in _target_parts(node) if isinstance(part, ast.Name)]
    return {part.id: None for part in parts if isinstance(part.ctx, ast.Store)}


def _written(node):
    """Return {name: None} of the names whose arrays this statement may write to: a[i] = …, np.add.at(a, …)."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        arguments = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
        return {argument.id: None for argument in arguments if isinstance(argument, ast.Name)}
    found = {}
    for part in _target_parts(node):
        while isinstance(part, ast.Subscript | ast.Attribute):
            part = part.value
            if isinstance(part, ast.Name):
                found[part.id] = None
    return found


def _target_parts(node):
    """Return the nodes to which a statement gives a value, and those inside them."""
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return [part for target in targets if target is not None for part in ast.walk(target)]


def _names_made(node):
    return {name for inner in ast.walk(node) for name in {**_stored(inner), **_written(inner)}}
