"""A stream that hands out no more than is there, and allocates nothing for what is not."""

from io import BufferedIOBase

from dosewright.core import CaseError

_CHUNK = 1 << 20  # zipfile inflates this much at a time; more makes it copy its rest again and again


class BoundedStream:
    """Reads of a known number of bytes from a source whose size is known.

    Args:
        source: Opened for reading bytes.
        size: Bytes it claims to hold; never more are taken.
    """

    def __init__(self, source: BufferedIOBase, size: int) -> None:
        self._source, self.left = source, size

    def exactly(self, count: int) -> bytes | bytearray:
        """Return the next `count` bytes.

        Raises:
            CaseError: If there are fewer left; nothing is allocated for them.
        """
        if not 0 <= count <= self.left:
            raise CaseError(f"must not end {count} bytes before its end", argument="arr_0", value=f"{self.left} left")
        self.left -= count
        data = bytearray(count)
        view, at = memoryview(data), 0
        while at < count:
            got = self._source.readinto(view[at : at + _CHUNK])
            if not got:
                raise CaseError("must be whole", argument="arr_0", value=f"cut off {count - at} bytes early")
            at += got
        return data

    def line(self, longest: int) -> str:
        r"""Return the next line without its end, as ASCII.

        Raises:
            CaseError: If it is longer than `longest` or has other characters.
        """
        data = bytearray()
        while len(data) <= longest:
            data += (byte := self.exactly(1))
            if byte == b"\n":
                return _ascii(data[:-1])
        raise CaseError(f"must have lines of at most {longest} bytes", argument="arr_0", value=_ascii(data[:60]))

    def require_end(self) -> None:
        """Check that nothing is left; a zip's checksum is compared on the way.

        Raises:
            CaseError: If bytes are left.
        """
        if self.left or self._source.read(1):
            raise CaseError("must end with its pickle", argument="arr_0", value=f"{self.left} bytes more")


def _ascii(data: bytearray) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise CaseError("must name globals in ASCII", argument="arr_0", value=bytes(data[:60])) from error
