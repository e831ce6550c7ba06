"""A pickle machine that can make numpy arrays, numbers, text and plain containers, and can do nothing else.

Python's own unpickler calls what a file names; even with `find_class` closed it grows its memo to any index a file
claims and sets attributes on whatever lies on its stack. This one knows the operations that Python's pickler (protocols
2 to 5) writes for such data. Its only calls rebuild arrays (`pickled_numpy`), every size is compared with what the file
still holds before anything is allocated, and steps, depth and text are bounded.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, final

from dosewright.core import CaseError
from dosewright.io.gdp_hmm import pickled_numpy
from dosewright.io.gdp_hmm.bounded_stream import BoundedStream

MAX_STEPS = 50_000  # a published file takes some 2000
MAX_DEPTH = 8
MAX_TEXT = 100_000  # bytes
_LONGEST_NAME = 200
_MAX_LONG = 16  # bytes of an integer


@final
class _Mark:
    """Where a container's items start on the stack."""


_MARK = _Mark()
_NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}


class PickleMachine:
    """Runs one pickle.

    Args:
        stream: The pickle, from its first byte.
    """

    def __init__(self, stream: BoundedStream) -> None:
        self.stream = stream
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the pickle holds: dicts, lists, tuples, text, numbers and arrays, nested at most 8 deep.

        Arrays of objects come as lists, one of no dimensions as the object in it.

        Raises:
            CaseError: If it is broken, too large, or names or does anything else.
        """
        for _ in range(MAX_STEPS):
            code = self.stream.exactly(1)[0]
            if code == pickle.STOP[0]:
                return _finished(self._pop())
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise _refusal("must use no operation but those of arrays and plain data", _NAMES.get(code, code))
            operation(self)
        raise _refusal(f"must take at most {MAX_STEPS} steps", "more")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def number(self, layout: str) -> Any:
        """Return the number that follows in the stream."""
        return struct.unpack(layout, self.stream.exactly(struct.calcsize(layout)))[0]

    def _pop(self) -> Any:
        if not self.stack:
            raise _refusal("must not take what is not there", "an empty stack")
        value = self.stack.pop()
        if value is _MARK:
            raise _refusal("must not take a mark for a value", "MARK")
        return value

    def _since_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise _refusal("must mark where a container starts", "no mark")

    def _target(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise _refusal(f"must fill a {kind.__name__}", type(self.stack[-1]).__name__ if self.stack else "nothing")
        return self.stack[-1]

    def _text(self, layout: str) -> None:
        size = self.number(layout)
        if size > MAX_TEXT:
            raise _refusal(f"must have texts of at most {MAX_TEXT} bytes", size)
        try:
            self.push(self.stream.exactly(size).decode())
        except UnicodeDecodeError as error:
            raise _refusal("must have texts in UTF-8", str(error.reason)) from error

    def _long(self, layout: str) -> None:
        size = self.number(layout)
        if not 0 <= size <= _MAX_LONG:
            raise _refusal(f"must have integers of at most {_MAX_LONG} bytes", size)
        self.push(int.from_bytes(self.stream.exactly(size), "little", signed=True))

    def _protocol(self) -> None:
        version = self.number("<B")
        if not 2 <= version <= 5:
            raise _refusal("must be of pickle protocol 2 to 5", version)

    def _frame(self) -> None:
        self.number("<Q")  # frames only help a reader that reads ahead

    def _extend(self) -> None:
        items = self._since_mark()
        self._target(list).extend(items)

    def _append(self) -> None:
        item = self._pop()
        self._target(list).append(item)

    def _set_items(self, items: list[Any]) -> None:
        target = self._target(dict)
        if len(items) % 2 or any(type(key) is not str for key in items[::2]):
            raise _refusal("must have dictionaries of text keys", "another key")
        target.update(zip(items[::2], items[1::2]))

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _dict(self) -> None:
        items = self._since_mark()
        self.push({})
        self._set_items(items)

    def _tuple(self, size: int) -> None:
        self.push(tuple(reversed([self._pop() for _ in range(size)])))

    def _put(self, index: int) -> None:
        if not self.stack:
            raise _refusal("must not remember what is not there", "an empty stack")
        self.memo[index] = self.stack[-1]

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise _refusal("must not recall what was not remembered", index)
        self.push(self.memo[index])

    def _global(self) -> None:
        module, name = self.stream.line(_LONGEST_NAME), self.stream.line(_LONGEST_NAME)
        self.push(pickled_numpy.named(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise _refusal("must name globals by text", type(name).__name__)
        self.push(pickled_numpy.named(module[:_LONGEST_NAME], name[:_LONGEST_NAME]))

    def _reduce(self) -> None:
        arguments = self._pop()
        self.push(pickled_numpy.reduced(self._pop(), arguments))

    def _build(self) -> None:
        state = self._pop()
        pickled_numpy.build(self.stack[-1] if self.stack else None, state)


def _refusal(rule: str, value: object) -> CaseError:
    return CaseError(rule, argument="pickle in arr_0", value=value)


def _finished(value: Any) -> Any:
    """Return the value with its arrays in place; counted as a tree, so that shared parts cannot multiply unseen."""
    left = MAX_STEPS

    def finish(part: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > MAX_DEPTH or left < 0:
            raise _refusal(f"must be nested at most {MAX_DEPTH} deep, of at most {MAX_STEPS} parts", "more")
        if isinstance(part, pickled_numpy.PendingArray):
            if part.objects is not None:
                return finish(part.objects if part.shape else part.objects[0], depth + 1)
            if part.value is None:
                raise _refusal("must give every array its values", "none")
            return part.value
        if isinstance(part, pickled_numpy.PendingDtype | pickled_numpy.Global):
            raise _refusal("must hold values only", type(part).__name__)
        if isinstance(part, dict):
            return {key: finish(item, depth + 1) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return type(part)(finish(item, depth + 1) for item in part)
        return part

    return finish(value, 0)


_OPERATIONS: Mapping[int, Callable[[PickleMachine], None]] = {
    code[0]: operation
    for code, operation in {
        pickle.PROTO: PickleMachine._protocol,
        pickle.FRAME: PickleMachine._frame,
        pickle.MARK: lambda m: m.push(_MARK),
        pickle.NONE: lambda m: m.push(None),
        pickle.NEWTRUE: lambda m: m.push(True),
        pickle.NEWFALSE: lambda m: m.push(False),
        pickle.BININT: lambda m: m.push(m.number("<i")),
        pickle.BININT1: lambda m: m.push(m.number("<B")),
        pickle.BININT2: lambda m: m.push(m.number("<H")),
        pickle.LONG1: lambda m: m._long("<B"),
        pickle.LONG4: lambda m: m._long("<i"),
        pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
        pickle.SHORT_BINBYTES: lambda m: m.push(m.stream.exactly(m.number("<B"))),
        pickle.BINBYTES: lambda m: m.push(m.stream.exactly(m.number("<I"))),
        pickle.BINBYTES8: lambda m: m.push(m.stream.exactly(m.number("<Q"))),
        pickle.BYTEARRAY8: lambda m: m.push(m.stream.exactly(m.number("<Q"))),
        pickle.SHORT_BINUNICODE: lambda m: m._text("<B"),
        pickle.BINUNICODE: lambda m: m._text("<I"),
        pickle.BINUNICODE8: lambda m: m._text("<Q"),
        pickle.EMPTY_TUPLE: lambda m: m.push(()),
        pickle.TUPLE: lambda m: m.push(tuple(m._since_mark())),
        pickle.TUPLE1: lambda m: m._tuple(1),
        pickle.TUPLE2: lambda m: m._tuple(2),
        pickle.TUPLE3: lambda m: m._tuple(3),
        pickle.EMPTY_LIST: lambda m: m.push([]),
        pickle.LIST: lambda m: m.push(m._since_mark()),
        pickle.APPEND: PickleMachine._append,
        pickle.APPENDS: PickleMachine._extend,
        pickle.EMPTY_DICT: lambda m: m.push({}),
        pickle.DICT: PickleMachine._dict,
        pickle.SETITEM: PickleMachine._set_item,
        pickle.SETITEMS: lambda m: m._set_items(m._since_mark()),
        pickle.BINPUT: lambda m: m._put(m.number("<B")),
        pickle.LONG_BINPUT: lambda m: m._put(m.number("<I")),
        pickle.MEMOIZE: lambda m: m._put(len(m.memo)),
        pickle.BINGET: lambda m: m._get(m.number("<B")),
        pickle.LONG_BINGET: lambda m: m._get(m.number("<I")),
        pickle.GLOBAL: PickleMachine._global,
        pickle.STACK_GLOBAL: PickleMachine._stack_global,
        pickle.REDUCE: PickleMachine._reduce,
        pickle.BUILD: PickleMachine._build,
    }.items()
}
