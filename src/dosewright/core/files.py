"""Writing files so that a reader never sees half of one."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dosewright.core.errors import InputError, StorageError

# What writing to an open file raises without naming the file.
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The temporary keeps the suffix, so writers that look at it still work; the umask sets who may read the result. An
    OSError that is about another file than these two passes as it is.

    Raises:
        StorageError: If the disk is full or the folder cannot be written; `path` then keeps its old content.
    """
    path = Path(path)
    temporary = path.parent / f".{path.stem}-{secrets.token_hex(8)}.part{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _storage_error(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if not _is_about(error, temporary, path):
            raise
        raise _storage_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: str | bytes) -> Path:
    """Write `content` to `path` in one step; text is UTF-8.

    Raises:
        StorageError: See `atomic_path`.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def read_at_most(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a file; a pipe or device that never ends is read no further than that, either.

    Raises:
        InputError: If it holds more.
        OSError: If it cannot be read.
    """
    with Path(path).open("rb") as stream:
        content = stream.read(most_bytes + 1)
        if len(content) > most_bytes:
            size = max(len(content), os.fstat(stream.fileno()).st_size)
            raise InputError(f"must have at most {most_bytes} bytes", argument="file", value=size, path=path)
    return content


def _is_about(error: OSError, temporary: Path, path: Path) -> bool:
    """Whether an error of a `with atomic_path` body is about the file being written, not one the body reads."""
    if isinstance(error, StorageError):
        return False
    given = (error.filename, error.filename2)
    named = {Path(os.fsdecode(name)).resolve() for name in given if isinstance(name, str | bytes | os.PathLike)}
    if not named:
        return error.errno in _NAMELESS or str(temporary) in str(error)
    return not named.isdisjoint(own.resolve() for own in (temporary, path, path.parent))


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno == errno.ENOSPC:
        folder = next(p for p in (path.parent, *path.parents) if p.exists())
        free_mb = shutil.disk_usage(folder).free / 1e6
        return StorageError(f"{path}: no space left on the disk ({free_mb:.0f} MB free); free some and start again")
    return StorageError(f"{path}: cannot be written: {error.strerror or error}")
