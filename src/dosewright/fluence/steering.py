"""Plans for pyRadPlan: the rays of the beams towards the target, and a dose engine that has been set up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dosewright.core import Beam, Grid, PatientCase
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_grid import mask_on_grid
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.pyradplan import ct_and_structures
from dosewright.geometry.isocenter import isocenter_of


@dataclass(frozen=True, eq=False)
class Steering:
    """A dose engine ready to calculate, and what it steers.

    Args:
        engine: pyRadPlan's engine, its dose grid and voxels set.
        ct: pyRadPlan's CT.
        structures: pyRadPlan's structures.
        stf: pyRadPlan's beams with their rays.
        grid: The dose grid.
        voxels: Flat (z, y, x) indices of its voxels in the body, ascending.
        beamlets: In the order of the beams, their rays, and the energies of a ray.
    """

    engine: Any
    ct: Any
    structures: Any
    stf: Any
    grid: Grid
    voxels: np.ndarray
    beamlets: Beamlets

    def beam_info(self, index: int) -> dict[str, Any]:
        """Return what the engine knows of a beam: depths and positions of the voxels, kernels, rays."""
        tracer, beam = self.engine._raytracer, self.stf.beams[index]
        # The engine hands the tracer a dictionary, which it would validate again, ray by ray, for seconds.
        tracer.trace_cubes = lambda _: type(tracer).trace_cubes(tracer, beam)
        return self.engine._init_beam({}, self.ct, self.structures, self.stf, index)


def steer(case: PatientCase, beams: Sequence[Beam], settings: InfluenceSettings) -> Steering:
    """Return an engine and the rays of a case's beams; pyRadPlan must be installed."""
    from pyRadPlan.dose.engines import get_engine
    from pyRadPlan.plan import IonPlan, PhotonPlan
    from pyRadPlan.stf import get_generator

    ct, structures = ct_and_structures(case)
    proton = case.technique == "proton"
    dose_grid = ct.grid.resample(dict.fromkeys("xyz", settings.dose_spacing_mm))
    plan = (
        IonPlan(radiation_mode="protons", machine=settings.machine) if proton else PhotonPlan(machine=settings.machine)
    )
    plan.prop_stf = {
        "generator": "IMPT" if proton else "photonIMRT",
        "gantry_angles": [beam.gantry_angle_deg for beam in beams],
        "couch_angles": [beam.couch_angle_deg for beam in beams],
        "bixel_width": settings.beamlet_mm,
        "iso_center": np.tile(isocenter_of(case), (len(beams), 1)),
    }
    plan.prop_dose_calc = {"engine": "HongPB" if proton else "SVDPB", "dose_grid": dose_grid}
    if not proton:
        plan.prop_dose_calc["geometric_lateral_cutoff"] = settings.lateral_cutoff_mm
    generator, engine = get_generator(plan), get_engine(plan)
    generator.console_progress = engine.console_progress = False
    stf = _unvalidated(generator.generate(ct, structures))
    engine._calc_dose_direct = False
    engine._init_dose_calc(ct, structures, stf)
    grid = _grid(engine.dose_grid)
    voxels = np.flatnonzero(mask_on_grid(case.body, case.grid, grid))
    _set_voxels(engine, grid, voxels)
    return Steering(engine, ct, structures, stf, grid, voxels, _beamlets(stf, settings.beamlet_mm, proton))


def _unvalidated(beams: list[dict[str, Any]]) -> Any:
    """Return pyRadPlan's steering information of a generator's output; validating it takes longer than the dose."""
    from pyRadPlan.stf import SteeringInformation
    from pyRadPlan.stf._beam import Beam as RadBeam
    from pyRadPlan.stf._beamlet import Beamlet
    from pyRadPlan.stf._ray import Ray

    def ray(given: Any) -> Any:
        if isinstance(given, Ray):
            return given
        beamlets = [Beamlet.model_construct(**beamlet) for beamlet in given["beamlets"]]
        return Ray.model_construct(**(given | {"beamlets": beamlets}))

    built = [RadBeam.model_construct(**(beam | {"rays": [ray(r) for r in beam["rays"]]})) for beam in beams]
    return SteeringInformation.model_construct(beams=built)


def _grid(grid: Any) -> Grid:
    nx, ny, nz = (int(n) for n in grid.dimensions)
    dx, dy, dz = (float(grid.resolution[axis]) for axis in "xyz")
    x, y, z = (float(v) for v in grid.origin)
    return Grid((nz, ny, nx), (dx, dy, dz), (x, y, z))


def _set_voxels(engine: Any, grid: Grid, voxels: np.ndarray) -> None:
    """Let the engine calculate exactly these voxels: its own choice of nearest neighbours frays at the skin."""
    index = np.stack(np.unravel_index(voxels, grid.shape_zyx), axis=1).astype(float)
    engine._vdose_grid = voxels
    engine._vox_world_coords_dose_grid = grid.position_xyz_mm(index).astype(np.float32)
    engine._vox_world_coords = engine._vox_world_coords.astype(np.float32)


def _beamlets(stf: Any, size_mm: float, proton: bool) -> Beamlets:
    """Return where the beamlets stand; pyRadPlan's beam's-eye X and Z are the collimator's X and Y."""
    rows = [
        (index, ray.ray_pos_bev[0], ray.ray_pos_bev[2], beamlet.energy)
        for index, beam in enumerate(stf.beams)
        for ray in beam.rays
        for beamlet in ray.beamlets
    ]
    beam, u, v, energy = np.array(rows, float).reshape(-1, 4).T
    return Beamlets(beam.astype(int), u.copy(), v.copy(), size_mm, energy.copy() if proton else None)
