"""The object in a pickle of tensors, found by an interpreter that can make such objects and nothing else.

A pickle is a program for a machine with a stack (Python's `pickletools` describes it). This one has the instructions
that `torch.save` writes, and runs them one by one: no class, function or method of Python is called, keys are hashed
only where they are text or small numbers, nothing recurses, and each instruction makes at most one small object. So a
hostile pickle ends in an error, or in objects of a bounded size, and a signal ends the reading between two
instructions.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

MOST_BYTES = 1 << 24
"""Of a pickle; those of LLaMA 405B have 0.2 MB, and 10,000 layers would take 14."""
_MOST_STEPS = 1 << 22
"""Instructions in all: 10,000 layers would take 4 million. As objects of Python they are 0.4 GB at most."""
_MOST_WHOLE = 16
"""Bytes of a whole number; the magic number of old files has 10."""
_MOST_AXES = 64
_MOST_ARGUMENTS = 16
_MOST_NAME = 200

_STORAGES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class ForeignError(Exception):
    """The pickle names a class or function that is not part of a tensor; the message is the name."""


class DamagedError(Exception):
    """The file contradicts itself; the message says where."""


class StorageView(NamedTuple):
    """The place of a tensor in its file. Two with the same place are one tensor under two names."""

    begin: int
    """Its first byte, counted from the beginning of the file."""
    count: int
    """How many numbers lie from its first to its last, including those between that are not its own."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Record(NamedTuple):
    """A part of the file that holds numbers."""

    begin: int
    length: int
    dtype: torch.dtype


class Reference(NamedTuple):
    """What a pickle says of a part of the file that holds numbers."""

    key: str
    dtype: torch.dtype
    view: tuple[int, int] | None
    """In old files, the first number and how many, where it is a part of the part."""


class NumpyScalar:
    """Stands for numpy's scalars and bytes, which report on a training and are not used."""


class _Function(NamedTuple):
    """A name that may be called."""

    name: str


_MARK = object()
_OUT = (IndexError, struct.error, UnicodeDecodeError, TypeError)
"""What Python raises where the pickle ends too soon, or an instruction finds something else than it expects."""


def unpickle(content: bytes, start: int, record_of: Callable[[Reference], Record]) -> tuple[Any, int]:
    """The object of a pickle, with a `StorageView` for each tensor, and where the pickle ends.

    Args:
        content: Holds the pickle.
        start: Its first byte.
        record_of: Gives the part of the file for the name that the pickle has for it.

    Raises:
        ForeignError: It wants code or classes.
        DamagedError: It is damaged, or larger than any file of weights needs.
    """
    machine = _Machine(content, start, record_of)
    try:
        return machine.run(), machine.position
    except _OUT:
        raise DamagedError("the pickle ends too soon, or makes no sense") from None


class _Machine:
    """The stack, the memo and the position of a pickle that is being run."""

    def __init__(self, content: bytes, start: int, record_of: Callable[[Reference], Record]) -> None:
        self.content = content
        self.position = start
        self._record_of = record_of
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._handed = 0

    def run(self) -> Any:
        instructions = _INSTRUCTIONS
        for _ in range(_MOST_STEPS):
            code = self.content[self.position]
            self.position += 1
            if code == _STOP:
                return self.pop()
            if code not in instructions:
                raise DamagedError(f"the pickle has the instruction {_NAMES.get(code, hex(code))}, which none needs")
            instructions[code](self)
        raise DamagedError(f"the pickle has more than {_MOST_STEPS:,} instructions")

    def number(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self.content, self.position)
        self.position += form.size
        return value

    def taken(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.content):
            raise DamagedError("the pickle ends too soon")
        value = self.content[self.position : end]
        self.position = end
        return value

    def line(self) -> str:
        end = self.content.find(b"\n", self.position, self.position + _MOST_NAME)
        if end < 0:
            raise DamagedError("the pickle has a name without an end")
        value = self.content[self.position : end].decode()
        self.position = end + 1
        return value

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        return self._stack.pop()

    def mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def pop_to_mark(self) -> list[Any]:
        found = self._stack
        self._stack = self._marks.pop()
        return found

    def whole(self, length: int) -> None:
        if length > _MOST_WHOLE:
            raise DamagedError(f"the pickle has a whole number of {length:,} bytes")
        self.push(int.from_bytes(self.taken(length), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise DamagedError("the pickle makes a tuple of what is not there")
        self._stack[len(self._stack) - count :] = [tuple(self._stack[len(self._stack) - count :])]

    def put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def get(self, number: int) -> None:
        if number not in self._memo:
            raise DamagedError("the pickle takes an object that it has not put away")
        self.push(self._memo[number])

    def memoize(self) -> None:
        self.put(len(self._memo))

    def items(self, values: list[Any]) -> None:
        _set_items(self._stack[-1], values)

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise DamagedError(f"the pickle appends to {type(target).__name__}")
        target.extend(values)

    def name(self, module: Any, name: Any) -> None:
        """Push what a global name stands for: a type of numbers, or what may be called."""
        if type(module) is not str or type(name) is not str or len(module) + len(name) > 2 * _MOST_NAME:
            raise DamagedError("the pickle has a name that is none")
        full = f"{module}.{name}"
        dtype = _STORAGES.get(name, torch.__dict__.get(name)) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            self.push(dtype)
        elif full in _CALLED:
            self.push(_Function(full))
        else:
            raise ForeignError(full)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Function) or type(arguments) is not tuple or len(arguments) > _MOST_ARGUMENTS:
            raise DamagedError("the pickle calls what is not a function, or with too much")
        # One list can be handed over again and again, so its parts count as instructions do.
        self._handed += sum(len(part) for part in arguments if type(part) in (list, tuple))
        if self._handed > _MOST_STEPS:
            raise DamagedError(f"the pickle hands more than {_MOST_STEPS:,} parts to functions")
        self.push(_CALLED[function.name](*arguments))

    def build(self) -> None:
        """Attributes of a dictionary, such as `_metadata` of a state dict, are passed over, and those of numpy's."""
        self.pop()
        if not isinstance(self._stack[-1], dict | NumpyScalar | _Function):
            raise DamagedError(f"the pickle gives attributes to {type(self._stack[-1]).__name__}")

    def refer(self) -> None:
        match self.pop():
            case ("storage", torch.dtype() as dtype, str(key), _, _):
                reference = Reference(key, dtype, None)
            case ("storage", torch.dtype() as dtype, str(key), _, _, None):
                reference = Reference(key, dtype, None)
            case ("storage", torch.dtype() as dtype, str(key), _, _, (str(), int(first), int(count))):
                reference = Reference(key, dtype, (first, count))
            case _:
                raise DamagedError("the pickle refers to something that is not a record of numbers")
        self.push(self._record_of(reference))


def _set_items(target: Any, values: list[Any]) -> None:
    """Set keys and values in turn. Only keys whose hash takes no time are taken."""
    if type(target) is not dict or len(values) % 2:
        raise DamagedError(f"the pickle sets an item of {type(target).__name__}")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if type(key) is not str and type(key) is not int:
            raise DamagedError(f"a dictionary has a key that is {type(key).__name__}, expected text")
        target[key] = value


def _ordered(*arguments: Any) -> dict[Any, Any]:
    """A dictionary, empty or of pairs, as Python 2 wrote it."""
    found: dict[Any, Any] = {}
    match arguments:
        case ():
            return found
        case (list(pairs),):
            if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
                _set_items(found, [part for pair in pairs for part in pair])
                return found
    raise DamagedError("the pickle makes a dictionary of something else than pairs")


def _view(record: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StorageView:
    """The place of a tensor whose record holds it element by element; the pickle's arguments may be anything."""
    if type(shape) is not tuple or type(stride) is not tuple or not len(shape) == len(stride) <= _MOST_AXES:
        raise DamagedError("a tensor has a record, a shape or strides that make no sense")
    sound = all(type(number) is int and 0 <= number < 1 << 63 for number in (offset, *shape, *stride))
    if not isinstance(record, Record) or not sound:
        raise DamagedError("a tensor has a record, a shape or strides that make no sense")
    size = 1
    for axis in shape:
        size *= axis
    count = size and 1 + sum((axis - 1) * step for axis, step in zip(shape, stride, strict=True))
    # Strides of 0 would make a tensor of more numbers than there are.
    if (offset + count) * record.dtype.itemsize > record.length or size > count:
        raise DamagedError("a tensor is larger than its record")
    return StorageView(record.begin + offset * record.dtype.itemsize, count, record.dtype, shape, stride)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _size(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) not in (list, tuple) or len(sizes) > _MOST_AXES:
        raise DamagedError("a size is not one")
    return tuple(sizes)


_CALLED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
    "torch.device": lambda *_: None,
    "numpy.dtype": lambda *_: NumpyScalar(),
    "numpy.core.multiarray.scalar": lambda *_: NumpyScalar(),
    "numpy._core.multiarray.scalar": lambda *_: NumpyScalar(),
    "_codecs.encode": lambda *_: NumpyScalar(),
}
"""All that a pickle may call, and what is made instead."""

_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_U1, _U2, _U4, _U8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")
_STOP = ord(".")


def _text(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.taken(machine.number(form)).decode())


def _raw(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.taken(machine.number(form)))


def _proto(machine: _Machine) -> None:
    if (version := machine.number(_U1)) > 5:
        raise DamagedError(f"the pickle is of protocol {version}")


def _global_on_stack(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.items([key, value])


_INSTRUCTIONS: dict[int, Callable[[_Machine], Any]] = {
    0x80: _proto,
    0x95: lambda machine: machine.number(_U8),  # FRAME
    ord("("): lambda machine: machine.mark(),
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    ord("J"): lambda machine: machine.push(machine.number(_I4)),
    ord("K"): lambda machine: machine.push(machine.number(_U1)),
    ord("M"): lambda machine: machine.push(machine.number(_U2)),
    ord("G"): lambda machine: machine.push(machine.number(_F8)),
    0x8A: lambda machine: machine.whole(machine.number(_U1)),
    0x8B: lambda machine: machine.whole(machine.number(_U4)),
    ord("X"): _text(_U4),
    0x8C: _text(_U1),
    0x8D: _text(_U8),
    ord("T"): _text(_U4),
    ord("U"): _text(_U1),
    ord("B"): _raw(_U4),
    ord("C"): _raw(_U1),
    0x8E: _raw(_U8),
    ord("]"): lambda machine: machine.push([]),
    ord("}"): lambda machine: machine.push({}),
    ord(")"): lambda machine: machine.push(()),
    ord("t"): lambda machine: machine.push(tuple(machine.pop_to_mark())),
    0x85: lambda machine: machine.tuple_of(1),
    0x86: lambda machine: machine.tuple_of(2),
    0x87: lambda machine: machine.tuple_of(3),
    ord("a"): lambda machine: machine.append([machine.pop()]),
    ord("e"): lambda machine: machine.append(machine.pop_to_mark()),
    ord("s"): _item,
    ord("u"): lambda machine: machine.items(machine.pop_to_mark()),
    ord("q"): lambda machine: machine.put(machine.number(_U1)),
    ord("r"): lambda machine: machine.put(machine.number(_U4)),
    0x94: lambda machine: machine.memoize(),
    ord("h"): lambda machine: machine.get(machine.number(_U1)),
    ord("j"): lambda machine: machine.get(machine.number(_U4)),
    ord("c"): lambda machine: machine.name(machine.line(), machine.line()),
    0x93: _global_on_stack,
    ord("R"): lambda machine: machine.call(),
    ord("b"): lambda machine: machine.build(),
    ord("Q"): lambda machine: machine.refer(),
}
