"""Beams whose planning kills its process once, in the middle of the second batch; importable by Dask workers."""

import os
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import Beam, PatientCase
from dosewright.core.case import Technique
from dosewright.jobs import generate_unit
from dosewright.planning.beam_setup import AbstractBeamSetup
from dosewright.planning.factory.maker import PlanMaker
from plan_problems import make_influence


@dataclass(frozen=True)
class DyingBeams(AbstractBeamSetup):
    """Four beams; also gives the process a made-up dose influence and a maker that dies."""

    marker: str

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        generate_unit.compute_influence = lambda case, settings: make_influence(case)
        generate_unit.PlanMaker = self._dying
        return tuple(Beam(angle) for angle in (0, 90, 180, 270))

    def technique(self, case: PatientCase) -> Technique:
        return "IMRT"

    def _dying(self, *arguments: object) -> PlanMaker:
        maker, made, marker = PlanMaker(*arguments), [], Path(self.marker)
        make = maker.make

        def dying(indices: object) -> object:
            made.append(indices)
            if len(made) == 2 and not marker.exists():
                marker.write_text("1 batch on the disk")
                os._exit(1)
            return make(indices)

        maker.make = dying
        return maker
