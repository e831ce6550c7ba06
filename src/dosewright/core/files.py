"""Writing files so that a reader never sees half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dosewright.core.errors import StorageError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The temporary keeps the suffix, so writers that look at it still work.

    Raises:
        StorageError: If the disk is full or the folder cannot be written; `path` then keeps its old content.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".part{path.suffix}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _storage_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
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


def _storage_error(path: Path, error: OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    if error.errno == errno.ENOSPC:
        folder = next(p for p in (path.parent, *path.parents) if p.exists())
        free_mb = shutil.disk_usage(folder).free / 1e6
        return StorageError(f"{path}: no space left on the disk ({free_mb:.0f} MB free); free some and start again")
    return StorageError(f"{path}: cannot be written: {error.strerror or error}")
