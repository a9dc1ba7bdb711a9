"""Read a pickle of tensors and plain containers without running any code from it.

A pickle is a program for a small stack machine. Some of its instructions can call any function of any module. The
machine in this file has no such instructions. It accepts only the few names that a state dict needs, and those of
plain values that are often saved beside one, which it leaves out. (An allow-list
for Python's own `pickle.Unpickler` is not enough: it allocates as much memory as a pickle claims to need.)
"""

import pickletools
from dataclasses import dataclass

from ..system.errors import InputError
from .stored import MOST_AXES, STORED

_STORAGES = {
    "torch DoubleStorage": "F64",
    "torch FloatStorage": "F32",
    "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16",
    "torch LongStorage": "I64",
    "torch IntStorage": "I32",
    "torch ShortStorage": "I16",
    "torch CharStorage": "I8",
    "torch ByteStorage": "U8",
    "torch BoolStorage": "BOOL",
}
_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
# Kinds of values that training scripts save beside a state dict. They are never made: a _Value stands for each.
_VALUES = {
    f"{module} {name}"
    for modules, names in (
        ("torch", "device Size float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"),
        ("numpy", "dtype ndarray"),
        ("numpy.core.multiarray numpy._core.multiarray", "scalar _reconstruct"),
        ("__builtin__ builtins", "int long float complex bool str bytes list tuple set frozenset dict"),
        ("collections", "defaultdict Counter"),
        ("argparse", "Namespace"),
        ("pathlib pathlib._local", "Path PosixPath WindowsPath"),
        ("lightning_fabric.utilities.data lightning.fabric.utilities.data", "AttributeDict"),
        ("_codecs", "encode"),  # bytes
    )
    for module in modules.split()
    for name in names.split()
}


@dataclass(frozen=True)
class PickledStorage:
    """A pickle's description of a storage, the one-dimensional buffer behind tensors. The data are stored elsewhere."""

    key: str
    stored_as: str  # a key of STORED
    count: int  # elements

    @property
    def nbytes(self):
        return self.count * STORED[self.stored_as].itemsize


@dataclass(frozen=True)
class PickledTensor:
    """A view of a storage. Its element (i, j, …) is the storage's element offset + i strides[0] + j strides[1] + …"""

    storage: PickledStorage
    offset: int
    shape: tuple
    strides: tuple


@dataclass(frozen=True)
class _Name:
    """An allowed name that the pickle asked for."""

    text: str  # module and name, with a space between


class _Value:
    """Stands for a value of a kind in _VALUES, and ignores whatever the pickle puts into it."""


def unpickle(file, where):
    """Return (the object in the file's next pickle, {key: PickledStorage} of the storages it mentions).

    where   the first words of every error

    Tensors become PickledTensors and an OrderedDict becomes a dict. Memory use is proportional to the pickle's length.
    Raises InputError if the pickle asks for any other name, which the error quotes, or is damaged.
    """
    storages = {}
    try:
        return _run(pickletools.genops(file), storages), storages
    except _Refused as error:
        raise InputError(f"{where}: {error}") from None
    except (ValueError, TypeError, LookupError) as error:  # the results of invalid instructions
        raise InputError(f"{where}: damaged, or not a pickle: {str(error)[:200]!r}") from None


class _Refused(Exception):
    """The pickle asks for something that a state dict does not need."""


def _run(instructions, storages):
    stack, marks, memo = [], [], {}  # marks: the stacks that MARK saved
    for instruction, argument, _ in instructions:
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case (
                "BININT"
                | "BININT1"
                | "BININT2"
                | "LONG1"
                | "BINFLOAT"
                | "BINUNICODE"
                | "SHORT_BINUNICODE"
                | "SHORT_BINSTRING"
            ):
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(instruction.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "MARK":
                marks.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, marks.pop()
                stack.append(tuple(items))
            case "APPENDS":
                items, stack = stack, marks.pop()
                _extend(stack[-1], items)
            case "SETITEMS":
                items, stack = stack, marks.pop()
                _set(stack[-1], items)
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "SETITEM":
                items = [stack.pop(-2), stack.pop()]
                _set(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_allowed(argument))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_allowed(f"{stack.pop()} {name}"))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"storage {storage.key} has two types or sizes")
                stack.append(storage)
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack[-1] = _call(stack[-1], arguments)
            case "BUILD":  # the attributes of an OrderedDict, such as a state dict's _metadata
                stack.pop()
                if not isinstance(stack[-1], _Value):
                    _checked(stack[-1], dict)
            case "INST":
                raise _Refused(_refusal(argument))
            case "STOP":
                return stack.pop()
            case name:
                raise _Refused(
                    f"its pickle has the instruction {name}, which no state dict needs; save only model.state_dict()"
                )


def _allowed(text):
    if text not in (_ORDERED_DICT, _TENSOR, _PARAMETER) and text not in _STORAGES and text not in _VALUES:
        raise _Refused(_refusal(text))
    return _Name(text)


def _refusal(text):
    name = repr(text[:200].replace(" ", "."))
    allowed = "numpygpt reads only tensors and plain containers; save only model.state_dict()"
    return f"its pickle asks for {name}, refused: {allowed}"


def _call(name, arguments):
    """Return the result of the PyTorch function of this name."""
    if _checked(name, _Name).text in _VALUES:
        return _Value()
    match name.text, _checked(arguments, tuple):
        case "collections OrderedDict", ():
            return {}
        case "torch._utils _rebuild_parameter", (PickledTensor() as tensor, *_):
            return tensor
        case "torch._utils _rebuild_tensor_v2", (PickledStorage() as storage, offset, tuple(shape), tuple(strides), *_):
            return _tensor(storage, offset, shape, strides)
    raise TypeError(f"{name.text} is called with arguments that no state dict has")


def _storage(identifier):
    match identifier:
        # Before the zip format, a sixth entry could make a storage a part of another. PyTorch now writes None there.
        case ("storage", _Name(name), str(key), _, int(count), *rest) if rest in ([], [None]):
            if name in _STORAGES and 0 <= count < 2**60:
                return PickledStorage(key, _STORAGES[name], count)
    raise ValueError("a storage is described in an unknown way")


def _tensor(storage, offset, shape, strides):
    """Return the view. Raises ValueError if it reaches beyond its storage."""
    numbers = (offset, *shape, *strides)
    if (
        not all(type(number) is int and 0 <= number < 2**60 for number in numbers)
        or not len(shape) == len(strides) <= MOST_AXES
    ):
        raise ValueError("a tensor's offset, shape or strides are not whole numbers or do not match")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if 0 not in shape and last >= storage.count:
        raise ValueError(f"a tensor reaches element {last} of storage {storage.key}, which has {storage.count}")
    return PickledTensor(storage, offset, shape, strides)


def _set(target, items):
    """Store alternating keys and values. Keys must be names or numbers: hashing nested tuples can exhaust the stack."""
    keys, values = items[::2], items[1::2]
    if isinstance(target, _Value):
        return
    if len(keys) != len(values) or not all(type(key) in (str, int, float, type(None)) for key in keys):
        raise TypeError("a dict has a key that is neither a name nor a number")
    _checked(target, dict).update(zip(keys, values))


def _extend(target, items):
    if not isinstance(target, _Value):
        _checked(target, list).extend(items)


def _checked(value, kind):
    if type(value) is not kind:
        raise TypeError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value
