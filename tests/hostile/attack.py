"""Attacks one reader with its mutants, in a process of its own with little memory, and tells what came of each."""

import hashlib
import itertools
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from dosewright.core import DosewrightError
from hostile import zip_mutations
from hostile.mutation import Mutation
from hostile.subjects import Subject, digest

MAX_GROWTH = 2_000_000_000  # bytes of address space and of memory beyond what the process had before
MAX_SECONDS = 60
MOST_TURNS = 30  # per mutant asked for: some mutations give the same file whatever the dice say
UNCHANGED = Mutation("unchanged", lambda path, rng: None)
REFUSED, EQUAL, DIFFERENT = "refused", "as the good one", "valid, another value"
GOOD = (REFUSED, EQUAL, DIFFERENT)
SILENT, NAMELESS, RAISED, EXECUTED = "SILENTLY WRONG", "FILE NOT NAMED", "OTHER EXCEPTION", "EXECUTED CODE"
OPENED, LEFT, HUNG, MEMORY, DIED = "OPENED ANOTHER FILE", "LEFT A FILE", "TOOK TOO LONG", "OUT OF MEMORY", "CRASHED"
BAD = (SILENT, NAMELESS, RAISED, EXECUTED, OPENED, LEFT, HUNG, MEMORY, DIED)


@dataclass(frozen=True)
class Outcome:
    """What a reader made of a mutant."""

    subject: str
    number: int
    mutation: str
    file: str
    kind: str
    text: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


class _TooLongError(BaseException):
    """Raised by the alarm; no reader catches it."""


class Watch:
    """Looks for what no reader may do: start a program, reach the network, open a file it was not given."""

    def __init__(self, secret: Path) -> None:
        self.secret, self.seen, self.active = str(secret), list[str](), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"):
            self.seen.append(f"{event} {arguments!r:.100}")
        if event == "open" and isinstance(arguments[0], str) and self.secret in arguments[0]:
            self.seen.append(f"open {arguments[0]}")


def mutants(subject: Subject, good: Path, seed: int) -> Iterator[tuple[int, Mutation, Path]]:
    """Yield number, mutation and file without end: every mutation of every pattern, then again with other dice."""
    rng = random.Random(f"{subject.name}/{seed}")
    files = {pattern: sorted(p.relative_to(good) for p in good.glob(pattern)) for pattern in subject.targets}
    turns = [(pattern, mutation) for pattern, mutations in subject.targets.items() for mutation in mutations]
    rng.shuffle(turns)
    for number in itertools.count():
        pattern, mutation = turns[number % len(turns)]
        yield number, mutation, rng.choice(files[pattern])


def spoil(subject: Subject, good: Path, target: Path, mutant: tuple[int, Mutation, Path], seed: int) -> str:
    """Make a mutant in a folder of its own; return a hash of what it is."""
    number, mutation, file = mutant
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(good, target)
    mutation.change(target / file, random.Random(f"{subject.name}/{seed}/{number}"))
    spoilt = target / file
    if spoilt.is_symlink():
        content = f"link {spoilt.readlink().name}".encode()
    else:
        content = spoilt.read_bytes() if spoilt.is_file() else b"folder" if spoilt.is_dir() else b"missing"
    return hashlib.sha256(str(file).encode() + content).hexdigest()


def attack(subject: Subject, count: int, seed: int, start: int = 0) -> Iterator[int | Outcome]:
    """Yield, for `count` mutants that differ from each other and from the good source, its number and its outcome.

    This process must be one that may die; another one goes on with the number behind the one it died of.
    """
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        place = Path(name)
        good, target, secret = place / "good", place / "mutant", place / "secret.txt"
        secret.write_text("never to be read")
        zip_mutations.CANARY = place / "canary"
        good.mkdir()
        subject.make(good)
        expected = digest(subject.read(good))
        watch = Watch(secret)
        seen = {spoil(subject, good, target, (0, UNCHANGED, p.relative_to(good)), seed) for p in good.rglob("*.*")}
        with _little_memory():
            for mutant in itertools.islice(mutants(subject, good, seed), start, MOST_TURNS * count):
                what = spoil(subject, good, target, mutant, seed)
                if what in seen:
                    continue
                seen.add(what)
                yield mutant[0]
                yield _one(subject, place, mutant, expected, watch)
                count -= 1
                if count == 0:
                    return


def _one(subject: Subject, place: Path, mutant: tuple[int, Mutation, Path], expected: str, watch: Watch) -> Outcome:
    number, mutation, file = mutant
    target = place / "mutant"
    _fill_in(target / file, watch.secret)
    before = set(place.iterdir())
    may_differ = mutation.may_differ or mutation.name in subject.unknowable
    may_differ = may_differ or any(file.match(pattern) for pattern in subject.optional)
    memory, begun = _peak(), time.perf_counter()
    kind, text = _outcome(subject, target, may_differ, expected, watch)
    seconds, grown = time.perf_counter() - begun, _peak() - memory
    if (place / "canary").exists():
        kind, text = EXECUTED, "the canary's folder is there"
        (place / "canary").rmdir()
    elif watch.seen:
        kind, text = OPENED, "; ".join(watch.seen[:3])
        watch.seen.clear()
    elif set(place.iterdir()) != before:
        kind, text = LEFT, str(set(place.iterdir()) - before)
    elif grown > MAX_GROWTH:
        kind, text = MEMORY, f"{grown / 1e6:.0f} MB more"
    return Outcome(subject.name, number, mutation.name, str(file), kind, text[-1500:], round(seconds, 3), grown / 1e6)


def _outcome(subject: Subject, target: Path, may_differ: bool, expected: str, watch: Watch) -> tuple[str, str]:
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(MAX_SECONDS)
    watch.active = True
    try:
        found = digest(subject.read(target))
    except DosewrightError as error:
        return (REFUSED, str(error)) if str(target) in str(error) else (NAMELESS, str(error))
    except _TooLongError:
        return HUNG, f"more than {MAX_SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return RAISED, "".join(traceback.format_exception(error)[-3:])
    finally:
        watch.active = False
        signal.alarm(0)
    if found == expected:
        return EQUAL, ""
    return (DIFFERENT, "") if may_differ else (SILENT, "valid, with other values")


def _alarm(_: int, __: FrameType | None) -> None:
    raise _TooLongError


def _fill_in(path: Path, secret: str) -> None:
    """Put the path of the secret into what asks for it."""
    if path.is_file() and not path.is_symlink():
        data = path.read_bytes()
        if b"{secret}" in data:
            path.write_bytes(data.replace(b"{secret}", secret.encode()))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _little_memory() -> Iterator[None]:
    """Let the process have `MAX_GROWTH` more of address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MAX_GROWTH, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def in_child(subject: Subject, count: int, seed: int) -> list[Outcome]:
    """Attack in forked processes; where one dies, the mutant it died of is told and the next goes on behind it."""
    found: list[Outcome] = []
    start = 0
    while len(found) < count:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _run_child(subject, count - len(found), seed, start, writing)
        os.close(writing)
        with os.fdopen(reading) as stream:
            told = [json.loads(line) for line in stream if line.endswith("\n")]
        _, status = os.waitpid(child, 0)
        found += [Outcome(**entry) for entry in told if isinstance(entry, dict)]
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        if not told or isinstance(told[-1], dict):
            raise RuntimeError(f"{subject.name}: the corpus itself failed, see above")
        start = told[-1] + 1
        found.append(Outcome(subject.name, told[-1], "?", "?", DIED, f"the process ended with {code}"))
    return found


def _run_child(subject: Subject, count: int, seed: int, start: int, writing: int) -> None:
    code = 1
    try:
        with os.fdopen(writing, "w", buffering=1) as stream:
            for entry in attack(subject, count, seed, start):
                stream.write(json.dumps(entry if isinstance(entry, int) else asdict(entry)) + "\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
