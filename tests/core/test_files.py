"""Writing in one step: the old content survives every failure."""

import errno
import os
import threading
from pathlib import Path

import pytest

from dosewright.core import StorageError
from dosewright.core.files import atomic_path, atomic_write

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("content", ["plan: Größe 70 Gy\n", b"\x00\xff\r\n", ""], ids=repr)
def test_what_is_written_is_read_back_byte_for_byte(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "folder" / "out.bin"
    assert atomic_write(path, content) == path
    assert path.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
    assert names(path.parent) == ["out.bin"]


def test_old_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    atomic_write(path, "a much longer old content")
    atomic_write(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out.txt"]


def test_a_relative_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert atomic_write("out.txt", "x") == Path("out.txt")
    assert (tmp_path / "out.txt").read_text() == "x"


def test_a_full_disk_leaves_the_old_content_and_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.bin"
    atomic_write(path, b"old")
    write = Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        write(self, data[: len(data) // 2])
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(StorageError, match=r"out\.bin: no space left on the disk \(\d+ MB free\)") as raised:
        atomic_write(path, b"new content")
    assert str(path) in str(raised.value)
    assert raised.value.__cause__ is FULL
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_a_disk_that_fills_while_flushing_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.bin"
    atomic_write(path, b"old")

    def fail(handle: int) -> None:
        raise FULL

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"out\.bin: no space left"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"file/out\.txt: cannot be written: "):
        atomic_write(tmp_path / "file" / "out.txt", "x")
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError, match="out: cannot be written: Is a directory"):
        atomic_write(tmp_path / "out", "x")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("interruption", [ValueError("broken writer"), KeyboardInterrupt()], ids=repr)
def test_a_failing_writer_leaves_nothing_and_its_error_passes(tmp_path: Path, interruption: BaseException) -> None:
    path = tmp_path / "out.bin"
    atomic_write(path, b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise interruption

    with pytest.raises(type(interruption)) as raised:
        fail()
    assert raised.value is interruption
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_a_failure_inside_another_names_the_file_that_failed(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "outer.zip"), atomic_path(tmp_path / "inner.csv"):
            raise FULL

    with pytest.raises(StorageError, match=r"inner\.csv: no space left"):
        fail()
    assert names(tmp_path) == []


def test_the_temporary_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "case.b2nd") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".case-")
        assert temporary.name.endswith(".part.b2nd")
        assert not (tmp_path / "case.b2nd").exists()
    assert names(tmp_path) == ["case.b2nd"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_says_who_may_read_the_result(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        path = atomic_write(tmp_path / "out.txt", "x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_errors_about_other_files_pass_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(FileNotFoundError, match=r"source\.csv") as raised, atomic_path(path):
        (tmp_path / "source.csv").read_bytes()
    assert not isinstance(raised.value, StorageError)
    with pytest.raises(ConnectionResetError, match="reset by peer"), atomic_path(path):
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.EMFILE], ids=errno.errorcode.get)
def test_errors_about_the_written_file_name_it(tmp_path: Path, error: int) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(StorageError, match=r"out\.txt: cannot be written: reason"), atomic_path(path) as temporary:
        raise OSError(error, "reason", str(temporary))
    library = "encoder failed"
    with pytest.raises(StorageError, match=r"out\.txt: cannot be written: encoder"), atomic_path(path) as temporary:
        raise OSError(f"{library} on {temporary}")
    for name in (os.path.relpath(path), os.fsencode(path)):
        with pytest.raises(StorageError, match=r"out\.txt: cannot be written: reason"), atomic_path(path):
            raise OSError(error, "reason", name)
    assert names(tmp_path) == []


def test_a_reader_sees_one_whole_content_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    atomic_write(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(30):
            atomic_write(path, contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        seen.append(path.read_bytes())
    writer.join()
    assert seen
    assert all(content in contents for content in seen)
