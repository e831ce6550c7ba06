"""What numpy leaves in a pickle, rebuilt from its parts: no function the file names is ever looked up or called.

numpy 1 and 2 write the same four globals under two module names each. An array is made only when its bytes are there
and are as many as its shape and type say, so that a claimed size allocates nothing.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from dosewright.core import CaseError

MAX_DIMENSIONS = 4
_CODE = re.compile(r"b1|[iu][1248]|f[248]|[SU][0-9]{1,3}|O8")


class Global(Enum):
    """A global a pickle may name; it stands for nothing that could be called."""

    RECONSTRUCT = "_reconstruct"
    NDARRAY = "ndarray"
    DTYPE = "dtype"
    SCALAR = "scalar"
    FROM_BUFFER = "_frombuffer"


GLOBALS: Mapping[tuple[str, str], Global] = {
    ("numpy", "ndarray"): Global.NDARRAY,
    ("numpy", "dtype"): Global.DTYPE,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Global.RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Global.SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Global.FROM_BUFFER for core in ("core", "_core")},
}


@dataclass(eq=False)
class PendingDtype:
    """A type whose byte order comes later."""

    code: str
    order: str = "="

    def dtype(self) -> np.dtype[Any]:
        """Return the type."""
        return np.dtype(self.code if self.code == "O8" else self.order + self.code)


@dataclass(eq=False)
class PendingArray:
    """An array whose shape, type and values come later; one of objects is no array here, but a list."""

    value: np.ndarray | None = None
    objects: list[Any] | None = None
    shape: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet."""
        return self.value is None and self.objects is None


def named(module: str, name: str) -> Global:
    """Return what a global stands for.

    Raises:
        CaseError: If it is none of numpy's that arrays and scalars need; the message names it.
    """
    if (module, name) not in GLOBALS:
        rule = "must hold numpy arrays, numbers, text and plain containers only, and names a global that is none"
        raise CaseError(f"{rule}; nothing of it was run", argument="arr_0", value=f"{module}.{name}")
    return GLOBALS[module, name]


def reduced(function: Any, arguments: Any) -> Any:
    """Return what a pickle's call gives.

    Raises:
        CaseError: If the call is none numpy writes.
    """
    match function, arguments:
        case Global.RECONSTRUCT, (Global.NDARRAY, (0,), (bytes() | bytearray())):
            return PendingArray()
        case Global.DTYPE, (str() as code, (bool() | int()), (bool() | int())) if _CODE.fullmatch(code):
            return PendingDtype(code)
        case Global.SCALAR, (PendingDtype() as kind, (bytes() | bytearray()) as data) if kind.code != "O8":
            return array_of((), kind.dtype(), data, fortran=False).item()
        case Global.FROM_BUFFER, (data, PendingDtype() as kind, tuple() as shape, ("C" | "F") as order, *_):
            return PendingArray(array_of(shape, kind.dtype(), data, fortran=order == "F"))
    shown = arguments[:1] if function is Global.DTYPE and isinstance(arguments, tuple) else ()
    told = ", ".join(repr(part) for part in shown if isinstance(part, str))
    raise CaseError("must call numpy as numpy does", argument="arr_0", value=f"{_named(function)}({told})")


def build(target: Any, state: Any) -> None:
    """Complete what waits for its state.

    Raises:
        CaseError: If the state is none numpy writes.
    """
    match target, state:
        case PendingDtype(), (int(), ("<" | ">" | "=" | "|") as order, None, None, None, *_):
            target.order = order
        case PendingArray(is_empty=True), (int(), tuple() as shape, PendingDtype(code="O8"), (bool() | int()), list()):
            size = _size(shape)
            if size != len(state[4]):
                raise CaseError(f"must hold {size} objects", argument="array in arr_0", value=len(state[4]))
            target.objects, target.shape = state[4], shape
        case PendingArray(is_empty=True), (int(), tuple() as shape, PendingDtype() as kind, (bool() | int()), data):
            target.value = array_of(shape, kind.dtype(), data, fortran=bool(state[3]))
        case _:
            raise CaseError("must set no state but an array's", argument="arr_0", value=_named(target))


def array_of(shape: tuple[Any, ...], dtype: np.dtype[Any], data: Any, fortran: bool) -> np.ndarray:
    """Return the array over `data`, without a copy where its bytes are in this machine's order.

    Raises:
        CaseError: If the bytes are not as many as shape and type say, or the type is "object".
    """
    size = _size(shape)
    if dtype.hasobject or not isinstance(data, bytes | bytearray):
        raise CaseError("must be made of bytes", argument="array in arr_0", value=type(data).__name__)
    if size * dtype.itemsize != len(data) or not dtype.itemsize:
        rule = f"must have the {len(data)} bytes that are there"
        raise CaseError(rule, argument="array in arr_0", value=f"shape {shape} of {dtype}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _size(shape: tuple[Any, ...]) -> int:
    whole = all(type(n) is int and 0 <= n < 1 << 32 for n in shape)
    if not whole or len(shape) > MAX_DIMENSIONS:
        rule = f"must be at most {MAX_DIMENSIONS} whole numbers"
        raise CaseError(rule, argument="shape of an array in arr_0", value=[n for n in shape[:8] if type(n) is int])
    return math.prod(shape)


def _named(value: Any) -> str:
    return str(value.value) if isinstance(value, Global) else type(value).__name__
