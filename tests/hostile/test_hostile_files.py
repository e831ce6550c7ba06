"""Hostile files in a reduced form; `python tests/hostile/run.py` runs the whole corpus: the same, but more."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from dosewright.core import CaseError
from hostile import attack, zip_mutations
from hostile.mutation import Mutation, on_bytes
from hostile.subjects import Subject, digest, subjects

RUN = Path(__file__).with_name("run.py")
COUNT = 12


def test_no_reader_does_what_none_may_do() -> None:
    """A process of its own: type checkers that only tests have would turn wrong types into other exceptions."""
    command = [sys.executable, str(RUN), "--count", str(COUNT), "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{COUNT * len(subjects())} mutants of {len(subjects())} readers, 0 of them a violation" in result.stdout


def test_the_same_seed_gives_the_same_mutants(tmp_path: Path) -> None:
    (subject,) = (s for s in subjects() if s.name == "names CSV")
    (tmp_path / "good").mkdir()
    subject.make(tmp_path / "good")
    made = [
        [
            attack.spoil(subject, tmp_path / "good", tmp_path / "mutant", mutant, seed)
            for mutant in itertools.islice(attack.mutants(subject, tmp_path / "good", seed), 60)
        ]
        for seed in (0, 0, 1)
    ]
    assert made[0] == made[1]
    assert len(set(made[0]) & set(made[2])) < 25  # what has no dice


def test_mutants_differ_from_each_other_and_from_the_good_source(tmp_path: Path) -> None:
    """What is asked for are different files; a mutation without dice counts once."""
    coin = on_bytes("coin", lambda data, rng: data + bytes([rng.randrange(2)]))
    same = on_bytes("same", lambda data, rng: data)
    subject = Subject("coins", make_text, refusing, {"*.txt": (coin, same, coin)})
    assert len(attack.in_child(subject, 8, 0)) == 2
    many = on_bytes("many", lambda data, rng: data + rng.randbytes(4))
    subject = Subject("many", make_text, lambda folder: "good", {"*.txt": (many, coin)})
    outcomes = attack.in_child(subject, 20, 0)
    assert (len(outcomes), len({outcome.number for outcome in outcomes})) == (20, 20)


def test_a_reader_that_dies_is_called_again_for_the_next(tmp_path: Path) -> None:
    many = on_bytes("many", lambda data, rng: data + rng.choice((b"!", b".", b"?")) * rng.randrange(1, 99))
    outcomes = attack.in_child(Subject("dying", make_text, dying, {"*.txt": (many,)}), 20, 0)
    assert len(outcomes) == 20
    assert {outcome.kind for outcome in outcomes} == {attack.DIED, attack.EQUAL}


# The watchers see what they watch for


def make_text(folder: Path) -> None:
    (folder / "a.txt").write_text("good")


def bad_reader(read: object, mutation: Mutation | None = None) -> attack.Outcome:
    """The outcome of a reader of one text file."""
    always = mutation or on_bytes("spoilt", lambda data, rng: data + b"!")
    subject = Subject("bad", make_text, read, {"*.txt": (always,)})  # type: ignore[arg-type]
    (outcome,) = attack.in_child(subject, 1, 0)
    return outcome


def spoilt(folder: Path) -> bool:
    return (folder / "a.txt").read_text().endswith("!")


def raising(folder: Path) -> str:
    if spoilt(folder):
        raise KeyError("x")
    return "good"


def nameless(folder: Path) -> str:
    if spoilt(folder):
        raise CaseError("must be good", argument="file")
    return "good"


def refusing(folder: Path) -> str:
    if spoilt(folder):
        raise CaseError("must be good", argument="file", path=folder / "a.txt")
    return "good"


def believing(folder: Path) -> str:
    return (folder / "a.txt").read_text()


def executing(folder: Path) -> str:
    if spoilt(folder):
        zip_mutations.CANARY.mkdir()
    return "good"


def calling(folder: Path) -> str:
    if spoilt(folder):
        subprocess.run(["true"], check=True)
    return "good"


def opening(folder: Path) -> str:
    if spoilt(folder):
        (folder.parent / "secret.txt").read_text()
    return "good"


def leaving(folder: Path) -> str:
    if spoilt(folder):
        (folder.parent / "slipped").write_text("x")
    return "good"


def hungry(folder: Path) -> str:
    return "good" if not spoilt(folder) else str(len(bytearray(3_000_000_000)))


def dying(folder: Path) -> str:
    if spoilt(folder):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    return "good"


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (raising, attack.RAISED, "KeyError: 'x'"),
        (nameless, attack.NAMELESS, "file must be good"),
        (refusing, attack.REFUSED, "a.txt: file must be good"),
        (believing, attack.SILENT, "valid, with other values"),
        (executing, attack.EXECUTED, "canary"),
        (calling, attack.OPENED, "subprocess.Popen"),
        (opening, attack.OPENED, "secret.txt"),
        (leaving, attack.LEFT, "slipped"),
        (hungry, attack.RAISED, "MemoryError"),
        (dying, attack.DIED, "-9"),
    ],
)
def test_a_bad_reader_is_caught(read: object, kind: str, text: str) -> None:
    outcome = bad_reader(read)
    assert (outcome.kind, text in outcome.text) == (kind, True), outcome


def test_a_reader_that_never_ends_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(folder: Path) -> str:
        while spoilt(folder):
            pass
        return "good"

    monkeypatch.setattr(attack, "MAX_SECONDS", 1)
    assert bad_reader(endless).kind == attack.HUNG


def test_what_no_reader_can_know_is_allowed_where_it_is_said() -> None:
    known = bad_reader(believing, on_bytes("spoilt", lambda data, rng: data + b"!", may_differ=True))
    assert known.kind == attack.DIFFERENT


def test_every_attack_through_a_pickle_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded as pickles are, in a process of its own, the attacks that call something do make the canary's folder."""
    monkeypatch.setattr(zip_mutations, "CANARY", tmp_path / "canary")
    calls = ("os.mkdir", "os.system", "eval", "exec", "subprocess", "getattr", "in a dict", "in an array", "setstate")
    by_name = dict(zip_mutations.attacks())
    for name in calls:
        (tmp_path / "attack.pkl").write_bytes(by_name[name])
        code = f"import pickle; pickle.load(open({str(tmp_path / 'attack.pkl')!r}, 'rb'))"
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (tmp_path / "canary").is_dir(), name
        (tmp_path / "canary").rmdir()


def test_digests_tell_values_apart() -> None:
    import numpy as np

    values = [np.zeros(3), np.zeros(3, int), np.zeros((3, 1)), [1, 2], [[1], 2], {"a": 1}, {"b": 1}, "1", 1, None]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(np.arange(6).reshape(2, 3).T.copy()) == digest(np.arange(6).reshape(2, 3).T)
