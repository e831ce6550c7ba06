"""A random thorax, arms up: lungs, heart, ribs and one lung tumour with its PTV.

Reference frame in mm, LPS: x to the patient's left, y posterior, z cranial, with z = 0 about 6 cm below the carina.
Means follow an average adult; organ volumes are checked in the tests against published ones.
"""

from dataclasses import dataclass

import numpy as np

from dosewright.io.phantom.anatomy import Anatomy, Target, Tissue
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

CENTER_XYZ_MM = (0.0, 0.0, 0.0)
AIR_HU = -995.0
PRESCRIPTION_GY = 60.0
FRACTIONS = 30

# z, half-width, front y, back y
SKIN_MM = (
    (-180.0, 156.0, -104.0, 104.0),
    (-110.0, 162.0, -110.0, 106.0),
    (-30.0, 170.0, -112.0, 110.0),
    (40.0, 172.0, -106.0, 112.0),
    (95.0, 166.0, -88.0, 108.0),
    (125.0, 140.0, -66.0, 100.0),
    (150.0, 100.0, -48.0, 90.0),
    (175.0, 66.0, -42.0, 78.0),
)
SPINE_MM: tuple[Point, ...] = (
    (0, 48, -180), (0, 53, -110), (0, 55, -30), (0, 52, 40), (0, 42, 100), (0, 29, 150), (0, 22, 180),
)  # fmt: skip
TRACHEA_MM: tuple[Point, ...] = ((0, -8, 180), (0, -4, 150), (0, 4, 105), (2, 11, 62))
GULLET_MM: tuple[Point, ...] = (
    (3, 10, 180), (3, 14, 150), (4, 23, 105), (5, 30, 62), (4, 31, 20), (6, 28, -50), (14, 22, -105), (24, 14, -140),
)  # fmt: skip
AORTA_MM: tuple[Point, ...] = (
    (2, -30, -5), (-10, -30, 35), (0, -22, 68), (16, 8, 80), (25, 32, 62), (26, 38, 0), (21, 38, -70), (12, 32, -180),
)  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """Shapes that tissues, organs and the target share."""

    body: AbstractShape
    spine: Tube
    canal: Tube
    cord: Tube
    trachea: AbstractShape
    gullet: Tube
    aorta: Tube
    heart: Ellipsoid
    liver: Ellipsoid
    stomach: Ellipsoid
    lungs: dict[str, Within]


def sample_lung(rng: np.random.Generator) -> Anatomy:
    """Return a random thorax with one PTV at 60 Gy in 30 fractions and seven or nine photon beams."""
    jitter = Jitter(rng)
    parts = _sample_parts(jitter)
    side = "R" if jitter.chance(0.55) else "L"
    tumour = _tumour(jitter, parts.lungs[side], side)
    beams = 9 if jitter.chance(0.5) else 7
    return Anatomy(
        site="Lung",
        center_xyz_mm=CENTER_XYZ_MM,
        body=parts.body,
        tissues=(*_soft_tissues(jitter, parts), *_bones(jitter, parts), Tissue(tumour, jitter.number(25, 8), 14.0)),
        organs=_organs(parts, tumour),
        targets=(_target(jitter, parts, tumour, side),),
        warp=jitter.warp(stature_sd=0.025),
        texture=jitter.waves(24, 9.0, 45.0),
        noise_hu=jitter.uniform(8.0, 18.0),
        gantry_angles_deg=tuple(round(360 * i / beams, 1) for i in range(beams)),
        fractions=FRACTIONS,
    )


def _sample_parts(jitter: Jitter) -> _Parts:
    body = Loft(jitter.stations(SKIN_MM, sd=0.025), exponent=2.5)
    spine = spline_tube(SPINE_MM, [jitter.number(15, 0.8)] * len(SPINE_MM), squash_xyz=(1.15, 1, 1))
    behind = [(x, y + 21, z) for x, y, z in SPINE_MM]
    carina = TRACHEA_MM[-1]
    bronchi = tuple(spline_tube([carina, (s * 22 + 2, 14, 42), (s * 44, 14, 22)], [7.5, 6.5, 4.5]) for s in (1.0, -1.0))
    windpipe = spline_tube(TRACHEA_MM, [jitter.number(8.5, 0.6)] * len(TRACHEA_MM))
    heart = jitter.ellipsoid((22, -38, -42), (55, 43, 55), sd_mm=3.0, tilt_deg=20, roll_deg=-25)
    liver = jitter.ellipsoid((-62, -8, -146), (105, 92, jitter.number(86, 6)), sd_mm=3.0)
    stomach = jitter.ellipsoid((78, -5, -152), (76, 80, jitter.number(74, 6)), sd_mm=3.0)
    aorta = spline_tube([jitter.point(p) for p in AORTA_MM], [15, 15, 13, 12.5, 12, 11.5, 11, 10.5])
    return _Parts(
        body=body,
        spine=spine,
        canal=spline_tube(behind, [8.5] * len(behind)),
        cord=spline_tube(behind, [jitter.number(4.8, 0.25)] * len(behind), squash_xyz=(1.25, 1, 1)),
        trachea=Union((windpipe, *bronchi)),
        gullet=spline_tube(GULLET_MM, [jitter.number(6.0, 0.4)] * len(GULLET_MM), squash_xyz=(1.3, 1, 1)),
        aorta=aorta,
        heart=heart,
        liver=liver,
        stomach=stomach,
        lungs=_lungs(jitter, body, (heart, liver, stomach, Inflated(spine, 4), Inflated(aorta, 3))),
    )


def _lungs(jitter: Jitter, body: AbstractShape, neighbours: tuple[AbstractShape, ...]) -> dict[str, Within]:
    """Lungs fill the rib cage but for the mediastinum, the heart, the domes of liver and stomach, spine and aorta."""
    wall = Inflated(body, -jitter.number(29, 1.5))
    mediastinum = Ellipsoid((2, -10, 20), (jitter.number(36, 2), 72, 190), exponent=2.5)
    lungs = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        hull = jitter.ellipsoid((sign * 75, 6, -14), (63, 86, jitter.number(130, 5)), exponent=2.2, sd=0.02)
        lungs[side] = Within(hull, inside=(wall,), outside=(mediastinum, *neighbours))
    return lungs


def _organs(parts: _Parts, tumour: AbstractShape) -> tuple[tuple[str, AbstractShape], ...]:
    airless = (tumour, parts.trachea, parts.gullet)
    return (
        *((f"Lung_{side}", Within(lung, outside=airless)) for side, lung in parts.lungs.items()),
        ("Heart", parts.heart),
        ("SpinalCord", parts.cord),
        ("Esophagus", Within(parts.gullet, outside=(parts.trachea, parts.aorta))),
    )


def _tumour(jitter: Jitter, lung: Within, side: str) -> AbstractShape:
    """A lump in the lung: somewhere between hilum and pleura, upper or middle lobe more often."""
    sign = 1.0 if side == "L" else -1.0
    z = jitter.uniform(-35.0, 80.0)
    x, y = jitter.uniform(52.0, 95.0) - 0.22 * max(z, 0.0), jitter.uniform(-35.0, 45.0)
    radius = jitter.uniform(13.0, 26.0)
    lump = Ellipsoid((sign * x, y, z), jitter.radii((radius, radius, radius), 0.12), exponent=2.2)
    return Within(lump, inside=(Inflated(lung, 6.0),))


def _target(jitter: Jitter, parts: _Parts, tumour: AbstractShape, side: str) -> Target:
    """The PTV: the tumour with a margin, in some patients with the hilar nodes of its side."""
    sign = 1.0 if side == "L" else -1.0
    volume: AbstractShape = Inflated(tumour, jitter.uniform(8.0, 12.0))
    if jitter.chance(0.4):
        node = Ellipsoid((sign * jitter.number(30, 3), 8, jitter.number(35, 6)), jitter.radii((18, 18, 24), 0.12))
        volume = Union((volume, node))
    inner, cord = Inflated(parts.body, -5.0), Inflated(parts.cord, 8.0)
    return Target("PTV", Within(volume, inside=(inner,), outside=(cord,)), PRESCRIPTION_GY)


def _soft_tissues(jitter: Jitter, parts: _Parts) -> tuple[Tissue, ...]:
    fat_mm = jitter.uniform(7.0, 15.0)
    cage = Inflated(parts.body, -29.0)
    blood = jitter.uniform(38.0, 140.0)
    return (
        Tissue(parts.body, -98.0, 12.0),
        Tissue(Inflated(parts.body, -fat_mm), 42.0, 28.0),
        Tissue(cage, -20.0, 45.0),  # mediastinal fat, vessels and nodes
        Tissue(parts.liver, 70.0, 8.0),
        Tissue(parts.stomach, 40.0, 14.0),
        Tissue(parts.heart, 0.5 * (42 + blood), 12.0),
        *(Tissue(lung, jitter.number(-800, 30), 55.0) for lung in parts.lungs.values()),
        Tissue(parts.gullet, 32.0, 8.0),
        Tissue(parts.aorta, blood, 5.0),
        Tissue(parts.trachea, AIR_HU, 3.0),
    )


def _bones(jitter: Jitter, parts: _Parts) -> tuple[Tissue, ...]:
    offset, pitch = jitter.uniform(0.0, 24.0), jitter.number(24.0, 0.8)
    along = (0.0, 0.0, 1.0)
    arch = Within(Inflated(parts.canal, 5.0), outside=(parts.canal,))
    spines = Tube(
        tuple((x, y + 15.0, z - 8.0) for x, y, z in parts.canal.points_xyz_mm),
        tuple(3.5 for _ in parts.canal.points_xyz_mm),
        (1.0, 2.6, 1.0),
    )
    ribs = Within(
        shell(parts.body, -17.0, -26.0),
        inside=(Slabs((0.12, -0.45, 1.0), pitch, 9.5, offset), Ellipsoid((0, 5, -20), (400, 98, 150), exponent=4)),
    )
    sternum = Ellipsoid((0, -84, 22), (19, 7, 78), exponent=3, tilt_deg=-6)
    blades = [jitter.ellipsoid((s * 108, 82, 75), (44, 5, 62), roll_deg=s * 18, tilt_deg=8) for s in (1.0, -1.0)]
    return (
        Tissue(shell(parts.body, -17.0, -26.0), 20.0, 40.0),
        Tissue(ribs, 420.0, 90.0),
        Tissue(Within(sternum, inside=(Inflated(parts.body, -8.0),)), 260.0, 60.0),
        *(Tissue(Within(blade, inside=(Inflated(parts.body, -7.0),)), 380.0, 80.0) for blade in blades),
        Tissue(Inflated(parts.spine, -2.5), 190.0, 50.0),
        Tissue(shell(parts.spine, 0.0, -3.0), 430.0, 80.0),
        Tissue(Within(parts.spine, inside=(Slabs(along, pitch, 5.5, offset),)), 85.0, 15.0),
        Tissue(Within(arch, inside=(Slabs(along, pitch, 16.0, offset + pitch / 2),)), 420.0, 80.0),
        Tissue(Within(spines, inside=(Slabs(along, pitch, 14.0, offset + pitch / 2),)), 380.0, 70.0),
        Tissue(parts.canal, 15.0, 5.0),
        Tissue(parts.cord, 38.0, 4.0),
    )
