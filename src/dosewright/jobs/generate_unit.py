"""One unit of the plan factory's work: a patient and a set of beams, batch by batch over one dose influence."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dosewright.core import PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.compute_influence import compute_influence
from dosewright.fluence.influence_cache import cached_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.prepared_plan import write_anatomy, write_plan
from dosewright.io.reader import AbstractReader
from dosewright.jobs.generate_store import BatchRecord, PlanRecord, PlanStore
from dosewright.jobs.hydra_task import build
from dosewright.planning.beam_setup import AbstractBeamSetup
from dosewright.planning.factory.maker import FactoryPlan, FactorySettings, PlanMaker
from dosewright.scorecards.absent import reduced_structures
from dosewright.scorecards.cards import load_card
from dosewright.scorecards.scorer import Scorer

PLANS_VERSION = 2  # raise when the same settings give other plans

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """A patient and a set of beams.

    Args:
        case_id: The patient.
        beam_set: Key of `beam_sets`.
    """

    case_id: str
    beam_set: str


def make_unit(plain: dict[str, Any], unit: Unit) -> int:
    """Make the plans of a unit that are not there; return how many were made, kept or not.

    Runs in any process: what it needs is in the configuration. Each batch is on the disk before the next one starts.

    Args:
        plain: conf/generate.yaml, resolved.
        unit: What to make.

    Raises:
        DosewrightError: If the case cannot be read or planned.
        StorageError: If the disk is full.
    """
    cfg = OmegaConf.create(plain)
    torch.set_num_threads(int(cfg.threads))
    reader: AbstractReader = build(cfg.data.reader)
    store = PlanStore(Path(cfg.out) / cfg.data.split)
    fingerprint = fingerprint_of(cfg, unit, reader.fingerprint(unit.case_id))
    done = store.done(unit.case_id, unit.beam_set, fingerprint)
    left = [index for index in range(cfg.plans) if index not in done]
    if not left:
        return 0
    maker, seconds = _maker(cfg, unit, reader.read(unit.case_id))
    anatomy = write_anatomy(store.folder, maker.case, reader.fingerprint(unit.case_id))
    reference = {} if maker.case.dose_gy is None else maker.measured(maker.case.dose_gy)
    for indices in _batches(left, int(cfg.batch)):
        clock = time.perf_counter()
        plans = maker.make(indices)
        seconds["planning"] = time.perf_counter() - clock
        clock = time.perf_counter()
        for plan in plans:
            if not plan.reasons:
                _write(store, anatomy, maker, plan, fingerprint)
        seconds["writing"] = time.perf_counter() - clock
        records = tuple(PlanRecord(p.draw.index, p.draw.as_data(), dict(p.measures), p.reasons) for p in plans)
        store.write(BatchRecord(unit.case_id, unit.beam_set, fingerprint, records, reference, dict(seconds)))
        seconds.clear()  # the matrix counts in the first batch
    return len(left)


def fingerprint_of(cfg: DictConfig, unit: Unit, case: str) -> str:
    """Return what changes when a unit's plans would: not their number, nor how they are batched."""
    settings: InfluenceSettings = build(cfg.fluence)
    content = {
        "version": PLANS_VERSION,
        "factory": OmegaConf.to_container(cfg.factory, resolve=True),
        "beams": OmegaConf.to_container(cfg.beam_sets, resolve=True)[unit.beam_set],  # type: ignore[index,call-overload]
        "fluence": settings.determinants,
        "card": cfg.card,
        "case": case,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _maker(cfg: DictConfig, unit: Unit, case: PatientCase) -> tuple[PlanMaker, dict[str, float]]:
    """Return what makes the unit's plans, and the time that took."""
    clock = time.perf_counter()
    beams: AbstractBeamSetup = build(cfg.beam_sets[unit.beam_set])
    case = beams.applied(case)
    settings: InfluenceSettings = build(cfg.fluence)
    cache = cfg.influence_cache
    influence = compute_influence(case, settings) if cache is None else cached_influence(case, settings, Path(cache))
    seconds = {"dose influence": time.perf_counter() - clock}
    clock = time.perf_counter()
    factory: FactorySettings = build(cfg.factory, _convert_="all")
    maker = PlanMaker(case, influence, unit.beam_set, factory, _judge(cfg.card, case))
    seconds["setting up"] = time.perf_counter() - clock
    return maker, seconds


def _judge(card: str | None, case: PatientCase) -> Callable[[FloatVolume], float] | None:
    if card is None:
        return None
    loaded = load_card(card)
    names = {name: reduced.expression for name, reduced in reduced_structures(loaded, case).items()}
    scorer = Scorer(loaded, case, names)
    return lambda dose_gy: scorer(dose_gy).total


def _write(store: PlanStore, anatomy: Path, maker: PlanMaker, plan: FactoryPlan, fingerprint: str) -> None:
    case_id, index = maker.case.case_id, plan.draw.index
    name = store.plan_id(case_id, maker.beam_set, index)
    provenance = {"patient": case_id, "beam_set": maker.beam_set, "seed": maker.settings.seed}
    provenance |= {"draw": plan.draw.as_data(), "measures": dict(plan.measures), "version": PLANS_VERSION}
    planned = replace(maker.case, case_id=name, dose_gy=plan.dose_gy)
    path = store.plan_path(case_id, maker.beam_set, index)
    write_plan(path, planned, anatomy, provenance, plan.fluence, f"{fingerprint}-{index}")


def _batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield batches of nearly equal length, none longer than `size`: few plans take as long as many.

    >>> [len(batch) for batch in _batches(range(100), 32)]
    [25, 25, 25, 25]
    """
    count = -(-len(indices) // size)
    for number in range(count):
        yield indices[number * len(indices) // count : (number + 1) * len(indices) // count]
