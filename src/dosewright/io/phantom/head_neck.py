"""A random head and neck: bones, air ways, organs at risk and one to three targets.

Reference frame in mm, LPS: x to the patient's left, y posterior, z cranial, with z = 0 near the disc C2/C3 and the
mandible's angle. Means follow an average adult; organ volumes are checked in the tests against published ones.
"""

from dataclasses import dataclass

import numpy as np

from dosewright.io.phantom.anatomy import Anatomy, Target, Tissue
from dosewright.io.phantom.head_neck_targets import sample_targets
from dosewright.io.phantom.sampling import Jitter
from dosewright.io.phantom.shapes import (
    AbstractShape,
    Ellipsoid,
    Inflated,
    Loft,
    Point,
    Slabs,
    Tube,
    Union,
    Within,
    shell,
    spline_tube,
)

CENTER_XYZ_MM = (0.0, 12.0, 15.0)
AIR_HU = -995.0
FACE_TOP_MM = 120.0

# z, half-width, front y, back y of face, neck and shoulders
SKIN_MM = (
    (-175.0, 200.0, -88.0, 108.0),
    (-150.0, 188.0, -76.0, 106.0),
    (-125.0, 158.0, -60.0, 100.0),
    (-104.0, 104.0, -50.0, 90.0),
    (-84.0, 68.0, -46.0, 80.0),
    (-56.0, 60.0, -52.0, 72.0),
    (-38.0, 61.0, -66.0, 70.0),
    (-20.0, 64.0, -90.0, 72.0),
    (10.0, 70.0, -95.0, 80.0),
    (40.0, 73.0, -97.0, 90.0),
    (95.0, 74.0, -92.0, 97.0),
    (130.0, 40.0, -70.0, 80.0),
)
SPINE_MM: tuple[Point, ...] = (
    (0, 20, 40), (0, 17, 20), (0, 15, 0), (0, 17, -35), (0, 28, -70), (0, 42, -110), (0, 54, -150), (0, 62, -190),
)  # fmt: skip
AIRWAY_MM: tuple[Point, ...] = (
    (0, -20, 52), (0, -12, 30), (0, -13, 5), (0, -11, -30), (0, -20, -52), (0, -12, -80), (0, 5, -120), (0, 16, -160),
    (0, 20, -190),
)  # fmt: skip
GULLET_MM: tuple[Point, ...] = (
    (0, 3, -60), (2, 9, -80), (5, 24, -115), (5, 35, -150), (4, 42, -190),
)  # fmt: skip
MANDIBLE_MM: tuple[Point, ...] = (
    (50, -8, 44), (49, -10, 20), (45, -20, -2), (33, -48, -14), (14, -70, -19), (0, -75, -20),
)  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """Shapes that tissues, organs and targets share."""

    body: AbstractShape
    brain: AbstractShape
    spine: Tube
    canal: Tube
    cord: Tube
    brainstem: Tube
    airway: Tube
    gullet: Tube
    mandible: Tube
    larynx: AbstractShape
    glands: dict[str, AbstractShape]


def sample_head_neck(rng: np.random.Generator) -> Anatomy:
    """Return a random head and neck with nine photon beams at 0, 40, …, 320 degrees and 35 fractions."""
    jitter = Jitter(rng)
    parts = _sample_parts(jitter)
    keep_out = (Inflated(parts.cord, 6.0), Inflated(parts.brainstem, 3.0))
    targets: tuple[Target, ...] = sample_targets(jitter, parts.body, keep_out)
    return Anatomy(
        site="HeadNeck",
        center_xyz_mm=CENTER_XYZ_MM,
        body=parts.body,
        tissues=(*_soft_tissues(jitter, parts), *_bones(jitter, parts), *_air(jitter, parts)),
        organs=_organs(parts),
        targets=targets,
        warp=jitter.warp(stature_sd=0.03),
        texture=jitter.waves(24, 9.0, 45.0),
        noise_hu=jitter.uniform(6.0, 14.0),
        gantry_angles_deg=tuple(float(a) for a in range(0, 360, 40)),
        fractions=35,
    )


def _sample_parts(jitter: Jitter) -> _Parts:
    cerebrum = jitter.ellipsoid((0, 3, 111), (65, 81, 51), exponent=2.2, sd=0.02)
    brain = Union((cerebrum, jitter.ellipsoid((0, 46, 70), (50, 36, 32), sd=0.03)))
    below = Slabs((0, 0, 1), 4000, 2000, FACE_TOP_MM - 1000)  # above it the scalp is the skin
    face = Within(Loft(jitter.stations(SKIN_MM)), inside=(below,))
    scalp = jitter.uniform(12.0, 16.0)
    nose = Ellipsoid((0, -96, jitter.number(32, 3)), (13, jitter.number(18, 2), 20), tilt_deg=-20)
    spine = spline_tube(
        SPINE_MM, [jitter.number(11.5, 0.7) + 0.4 * i for i in range(len(SPINE_MM))], squash_xyz=(1.2, 1, 1)
    )
    behind = tuple((x, y + 16 + 0.5 * i, z) for i, (x, y, z) in enumerate(spine.points_xyz_mm[::4]))
    canal = spline_tube(behind, [8.5] * len(behind), squash_xyz=(1.3, 1, 1))
    cord = spline_tube(behind, [jitter.number(4.6, 0.25)] * len(behind), squash_xyz=(1.3, 1, 1))
    top = np.array(behind[0])
    stem: list[Point] = [(0, float(top[1]) - 1, 46), (0, float(top[1]) - 6, 62), (0, 20, 80), (0, 12, 98)]
    brainstem = spline_tube(stem, [jitter.number(r, 0.5) for r in (7, 9, 13, 11.5)], squash_xyz=(1.1, 1, 1))
    wide = jitter.number(1, 0.05)
    airway = spline_tube(AIRWAY_MM, [wide * r for r in (10, 9, 8, 8.5, 6, 8.5, 9, 9, 9)], squash_xyz=(1.25, 1, 1))
    return _Parts(
        body=Union((face, Inflated(cerebrum, scalp), nose)),
        brain=brain,
        spine=spine,
        canal=canal,
        cord=cord,
        brainstem=brainstem,
        airway=airway,
        gullet=spline_tube(GULLET_MM, [jitter.number(6.2, 0.5)] * len(GULLET_MM), squash_xyz=(1.35, 1, 1)),
        mandible=_mandible(jitter),
        larynx=jitter.ellipsoid((0, -22, -47), (19, 19, 24), sd_mm=1.0),
        glands=_glands(jitter),
    )


def _mandible(jitter: Jitter) -> Tube:
    wide, long = jitter.number(1, 0.03), jitter.number(1, 0.03)
    half = [(x * wide, y * long, z) for x, y, z in MANDIBLE_MM]
    points = half + [(-x, y, z) for x, y, z in reversed(half[:-1])]
    radii = [7.0, 8.5, 9.5, 9.0, 9.0, 8.5]
    return spline_tube(points, radii + radii[-2::-1], squash_xyz=(0.7, 1.15, 1.35))


def _glands(jitter: Jitter) -> dict[str, AbstractShape]:
    """Parotid and submandibular glands: paired, each side with its own draw."""
    glands: dict[str, AbstractShape] = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        superficial = jitter.ellipsoid((sign * 58, 0, 10), (10, 22, 27), sd=0.07)
        deep = jitter.ellipsoid((sign * 51, 10, 14), (13, 12, 20), sd=0.07)
        glands[f"Parotid_{side}"] = Union((superficial, deep))
        glands[f"Glnd_Submand_{side}"] = jitter.ellipsoid((sign * 31, -33, -25), (11.5, 17, 13.5), tilt_deg=-15)
    return glands


def _organs(parts: _Parts) -> tuple[tuple[str, AbstractShape], ...]:
    skin = Inflated(parts.body, -3.0)
    glands = tuple(
        (name, Within(shape, inside=(skin,), outside=(Inflated(parts.mandible, 1.0),)))
        for name, shape in parts.glands.items()
    )
    return (
        ("Brain", Within(parts.brain, outside=(parts.brainstem,))),
        ("Brainstem", parts.brainstem),
        ("SpinalCord", Within(parts.cord, outside=(parts.brainstem,))),
        *glands,
        ("Larynx", parts.larynx),
        ("Esophagus", Within(parts.gullet, outside=(parts.airway,))),
        ("Bone_Mandible", parts.mandible),
    )


def _soft_tissues(jitter: Jitter, parts: _Parts) -> tuple[Tissue, ...]:
    vessels = []
    for sign in (1.0, -1.0):
        points: list[Point] = [
            (sign * 30, 0, 40), (sign * 32, -4, -5), (sign * 28, -2, -50), (sign * 26, 4, -95), (sign * 16, 8, -150),
        ]  # fmt: skip
        vessels.append(spline_tube([jitter.point(p) for p in points], [3.5, 4.0, 4.5, 5, 5.5], squash_xyz=(1.5, 1, 1)))
    contrast = jitter.uniform(45.0, 170.0)
    orbits = tuple(jitter.ellipsoid((s * 32, -73, 70), (19, 20, 17), sd_mm=1.0) for s in (1, -1))
    eyes = tuple(Ellipsoid((s * 32, -80, 70), (12, 12, 12)) for s in (1, -1))
    return (
        Tissue(parts.body, -95.0, 14.0),
        Tissue(Inflated(parts.body, -jitter.uniform(5.0, 10.0)), 38.0, 34.0),
        *(Tissue(gland, jitter.number(-5, 12), 16.0) for name, gland in parts.glands.items() if "Parotid" in name),
        *(Tissue(gland, 45.0, 8.0) for name, gland in parts.glands.items() if "Submand" in name),
        *(Tissue(vessel, contrast, 6.0) for vessel in vessels),
        Tissue(Inflated(Union((parts.brain, parts.brainstem)), 6.5), 950.0, 130.0),
        Tissue(parts.brain, 34.0, 7.0),
        Tissue(parts.brainstem, 30.0, 4.0),
        *(Tissue(Within(orbit, inside=(Inflated(parts.body, -3),)), -70.0, 10.0) for orbit in orbits),
        *(Tissue(eye, 8.0, 3.0) for eye in eyes),
        Tissue(parts.larynx, 55.0, 20.0),
        Tissue(parts.gullet, 35.0, 8.0),
        *(Tissue(Ellipsoid((s * 18, -8, -78), (9, 10, 20)), 110.0, 10.0) for s in (1, -1)),
    )


def _bones(jitter: Jitter, parts: _Parts) -> tuple[Tissue, ...]:
    offset = jitter.uniform(0.0, 19.0)
    slant = (0.0, 0.12, 1.0)
    pitch = jitter.number(18.5, 0.5)
    arch = Within(Inflated(parts.canal, 4.5), outside=(parts.canal,))
    spines = Tube(
        tuple((x, y + 20.0, z - 6.0) for x, y, z in parts.canal.points_xyz_mm if z < 30),
        tuple(3.5 for p in parts.canal.points_xyz_mm if p[2] < 30),
        (1.0, 3.2, 1.0),
    )
    upper = Ellipsoid((0, -50, 34), (42, 32, 34), exponent=2.4)
    teeth = Tube(tuple((x * 0.82, y * 0.95, z + 15) for x, y, z in parts.mandible.points_xyz_mm if y < -30),
                 tuple(4.0 for p in parts.mandible.points_xyz_mm if p[1] < -30), (0.9, 0.9, 2.4))  # fmt: skip
    cartilage = shell(parts.larynx, 0.0, -3.0)
    return (
        Tissue(Within(upper, outside=(Inflated(parts.brain, 2.0),)), 180.0, 160.0),
        Tissue(Inflated(parts.spine, -2.0), 210.0, 60.0),
        Tissue(shell(parts.spine, 0.0, -2.5), 520.0, 90.0),
        Tissue(Within(parts.spine, inside=(Slabs(slant, pitch, 5.0, offset),)), 85.0, 15.0),
        Tissue(Within(arch, inside=(Slabs(slant, pitch, 12.0, offset + pitch / 2),)), 480.0, 90.0),
        Tissue(Within(spines, inside=(Slabs(slant, pitch, 10.0, offset + pitch / 2),)), 420.0, 80.0),
        Tissue(parts.canal, 15.0, 5.0),
        Tissue(parts.cord, 38.0, 4.0),
        Tissue(parts.mandible, 1050.0, 150.0),
        Tissue(Inflated(parts.mandible, -3.5), 450.0, 120.0),
        Tissue(teeth, jitter.uniform(1400.0, 2200.0), 200.0),
        Tissue(Within(cartilage, inside=(Slabs((0, 1, 0.6), 400.0, 46.0, -62.0),)), 160.0, 60.0),
        *_shoulder_bones(jitter),
    )


def _shoulder_bones(jitter: Jitter) -> tuple[Tissue, ...]:
    bones: list[Tissue] = []
    for s in (1.0, -1.0):
        clavicle: list[Point] = [(s * 18, -46, -158), (s * 60, -40, -148), (s * 110, 0, -138), (s * 150, 22, -136)]
        bones.append(Tissue(spline_tube([jitter.point(p) for p in clavicle], [7, 5.5, 5.5, 6]), 520.0, 120.0))
        bones.append(Tissue(jitter.ellipsoid((s * 168, 22, -160), (22, 22, 24)), 330.0, 70.0))
        bones.append(Tissue(jitter.ellipsoid((s * 105, 74, -165), (48, 6, 40), tilt_deg=15), 420.0, 90.0))
        for i in range(3):  # uppermost ribs, from the spine around the lung's apex
            z, wide = -112.0 - 18 * i, 44.0 + 16 * i
            rib: list[Point] = [
                (s * 18, 58 + 5 * i, z), (s * wide, 48 + 5 * i, z - 8), (s * (wide + 8), 10, z - 22),
                (s * 26, -30, z - 40),
            ]  # fmt: skip
            bones.append(Tissue(spline_tube(rib, [4.5] * 4), 420.0, 80.0))
    return tuple(bones)


def _air(jitter: Jitter, parts: _Parts) -> tuple[Tissue, ...]:
    apices = [
        jitter.ellipsoid((s * 52, 20, -182), (38, 46, jitter.number(66, 5)), sd_mm=2.0) for s in (1, -1)
    ]  # fmt: skip
    sinuses = [jitter.ellipsoid((s * 27, -56, 42), (13, 14, 15), sd_mm=1.0) for s in (1, -1)]
    nasal = [Ellipsoid((s * 7, -62, 40), (4.5, 30, 19)) for s in (1, -1)]
    mastoids = [jitter.ellipsoid((s * 52, 24, 44), (9, 12, 12), sd_mm=1.0) for s in (1, -1)]
    mouth = Ellipsoid((0, -46, 14), (22, 26, jitter.uniform(1.0, 5.0)), tilt_deg=-10)
    lumen = Ellipsoid((0, -20, -52), (5, 9, 14))
    return (
        *(Tissue(apex, -790.0, 45.0) for apex in apices),
        *(Tissue(mastoid, 100.0, 200.0) for mastoid in mastoids),
        *(Tissue(cavity, AIR_HU, 3.0) for cavity in (*sinuses, *nasal, mouth, lumen)),
        Tissue(parts.airway, AIR_HU, 3.0),
    )
