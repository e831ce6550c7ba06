"""What sets trainings apart, in few words, and which of them differ in nothing but their seed."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dosewright.jobs.summarize_run import FINISHED, TrainedRun

Recipe = Mapping[str, Any]
SEED, ABSENT = "seed", "–"
_TARGET, _LONGEST = "_target_", 40
#: How Hydra is to build something, which says nothing of what is built.
_HOW = ("_convert_", "_partial_", "_recursive_")


@dataclass(frozen=True)
class Variant:
    """Finished runs that share all but their seed: recipe, length and name."""

    label: str
    runs: tuple[TrainedRun, ...]


def variants(runs: Sequence[TrainedRun], told: Sequence[Mapping[str, str]]) -> list[Variant]:
    """Return the finished runs, those of one recipe, length and name together.

    Args:
        runs: All runs.
        told: What sets each of them apart, see `differences`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    seeds = _seeds([run.recipe for run in runs])
    for n, run in enumerate(runs):
        if run.status == FINISHED:
            rest = {key: value for key, value in run.recipe.items() if key not in seeds}
            groups[json.dumps([rest, run.steps, run.name] if rest else str(run.folder), sort_keys=True)].append(n)
    names = _labels([(runs[group[0]], told[group[0]]) for group in groups.values()])
    return [Variant(label, tuple(runs[n] for n in group)) for label, group in zip(names, groups.values())]


def differences(recipes: Sequence[Recipe]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return what sets each recipe apart but its seed, and what the most have instead; empty recipes take no part.

    A part of another class is told by its class; its numbers are compared among those of the same class. A value that
    more recipes have than any other is left out and is in the second result; where none is, all are told.

    >>> differences([{"lr": 1, "seed": 0}, {"lr": 1, "seed": 1}, {"lr": 2, "seed": 0}])
    ([{}, {}, {'lr': '2'}], {'lr': '1'})
    >>> differences([{"model._target_": "a.C3D", "model.width": 8}, {"model._target_": "b.UNet", "model.depth": 3}])
    ([{'model': 'C3D'}, {'model': 'UNet'}], {})
    """
    told: list[dict[str, str]] = [{} for _ in recipes]
    usual: dict[str, str] = {}
    known = [n for n, recipe in enumerate(recipes) if recipe]
    keys = {key for recipe in recipes for key in recipe if key.rpartition(".")[2] not in _HOW}
    for key in sorted(keys - _seeds(recipes)):
        name, groups = key.removesuffix(f".{_TARGET}"), _same_kind(key, recipes, known)
        for classes, group in groups.items():
            shown = {n: _shown(recipes[n].get(key)) for n in group}
            counts = Counter(shown.values()).most_common(2)
            if len(counts) == 1:
                continue
            most = counts[0][0] if counts[0][1] > counts[1][1] else None
            if most is not None:
                usual[name if len(groups) == 1 else f"{name} of {classes[-1]}"] = most
            for n in group:
                if shown[n] != most:
                    told[n][name] = shown[n]
    short = _shortened([*usual, *(name for one in told for name in one)])
    return [{short[name]: value for name, value in one.items()} for one in told], {
        short[name]: value for name, value in usual.items()
    }


def in_words(told: Mapping[str, str]) -> str:
    """Return differences as one line.

    >>> in_words({"optimizer.lr": "0.1", "model": "C3D"})
    'optimizer.lr=0.1, model=C3D'
    """
    return ", ".join(f"{name}={value}" for name, value in told.items())


def _seeds(recipes: Sequence[Recipe]) -> set[str]:
    """Return the keys that hold the seed of the training: its own, and those that are equal to it in all recipes.

    >>> sorted(_seeds([{"seed": 1, "draws.seed": 1, "data.seed": 0}, {"seed": 0, "draws.seed": 0, "data.seed": 0}]))
    ['draws.seed', 'seed']
    """
    named = {key for recipe in recipes for key in recipe if key.rpartition(".")[2] == SEED}
    return {key for key in named if all(recipe[key] == recipe.get(SEED) for recipe in recipes if key in recipe)}


def _same_kind(key: str, recipes: Sequence[Recipe], known: Sequence[int]) -> dict[tuple[str, ...], list[int]]:
    """Return the numbers of known recipes by the classes of the parts that hold a key."""
    parts = key.removesuffix(f".{_TARGET}").split(".")
    targets = [f"{'.'.join(parts[:n])}.{_TARGET}" for n in range(1, len(parts))]
    groups = defaultdict(list)
    for n in known:
        groups[tuple(_shown(recipes[n][target]) for target in targets if target in recipes[n])].append(n)
    return groups


def _shown(value: object) -> str:
    """Return a value in few characters: of a class or file its name, of a list what JSON makes of it.

    >>> _shown("dosewright.nets.c3d.C3D"), _shown([8, 16]), _shown("runs/seed_1/model.safetensors"), _shown(None)
    ('C3D', '[8,16]', 'seed_1/model.safetensors', '–')
    """
    if value is None:
        return ABSENT
    if isinstance(value, str):
        is_class = value.replace(".", "").replace("_", "").isalnum() and value.rpartition(".")[2][:1].isupper()
        text = value.rpartition(".")[2] if is_class else "/".join(PurePosixPath(value).parts[-2:])
    else:
        text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _shortened(names: Iterable[str]) -> dict[str, str]:
    """Return each name's last two parts, or as many as tell it from all others.

    >>> _shortened(["model.decoder.widths", "model.encoder.widths", "model.encoder.blocks.widths", "seed"])
    {'model.decoder.widths': 'decoder.widths', 'model.encoder.widths': 'encoder.widths',
    'model.encoder.blocks.widths': 'blocks.widths', 'seed': 'seed'}
    """
    short, distinct = {}, dict.fromkeys(names)
    for name in distinct:
        parts = name.split(".")
        for kept in range(min(2, len(parts)), len(parts) + 1):
            short[name] = ".".join(parts[-kept:])
            if sum(f".{other}".endswith(f".{short[name]}") for other in distinct) == 1:
                break
    return short


def _labels(described: Sequence[tuple[TrainedRun, Mapping[str, str]]]) -> list[str]:
    """Return a label per variant: the configured name, with what sets it apart where that is not enough.

    Two that remain alike get their steps, or as a last resort their folders.
    """
    names = [run.name or run.folder.name for run, _ in described]
    labels = list(names)
    if len(set(names)) < len(names):
        alone = len(set(names)) == 1
        words = [in_words(told) for _, told in described]
        labels = [
            (word if alone and word else f"{name} ({word})") if word else name for name, word in zip(names, words)
        ]
    for more in (lambda run: f"{run.steps} steps", lambda run: str(run.folder)):
        counts = Counter(labels)
        labels = [f"{label}, {more(run)}" if counts[label] > 1 else label for label, (run, _) in zip(labels, described)]
    return labels
