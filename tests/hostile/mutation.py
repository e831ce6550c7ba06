"""What a mutation is: a way to break one good file, with what a reader may make of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Change = Callable[[Path, random.Random], None]


@dataclass(frozen=True)
class Mutation:
    """A way to break a file.

    Args:
        name: What is broken.
        change: Changes the file at a path; random choices come from the generator alone.
        may_differ: Whether what is read may be valid and yet another than the good one, because no reader can know:
            another voxel value, another dose, an organ that is not there.
    """

    name: str
    change: Change
    may_differ: bool = False


def on_bytes(name: str, change: Callable[[bytes, random.Random], bytes], may_differ: bool = False) -> Mutation:
    """A mutation of a file's content."""

    def apply(path: Path, rng: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), rng))

    return Mutation(name, apply, may_differ)


def on_text(name: str, change: Callable[[str, random.Random], str], may_differ: bool = False) -> Mutation:
    """A mutation of a text file."""
    return on_bytes(
        name, lambda data, rng: change(data.decode("utf-8"), rng).encode("utf-8", "surrogatepass"), may_differ
    )
