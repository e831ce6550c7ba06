"""Random head and neck targets: a primary tumour, involved nodes and the elective neck, as in OpenKBP's dose levels."""

from dosewright.io.phantom.anatomy import Target
from dosewright.io.phantom.sampling import Jitter
from dosewright.io.phantom.shapes import AbstractShape, Ellipsoid, Inflated, Point, Tube, Union, Within, spline_tube

HIGH_GY, MID_GY, LOW_GY = 70.0, 63.0, 56.0
SKIN_MM = 5.0  # targets stay this far below the skin

# site: centre of a left-sided tumour, radii with margins (mm)
PRIMARIES: dict[str, tuple[Point, Point]] = {
    "oropharynx": ((13, -18, 6), (23, 23, 27)),
    "larynx": ((4, -20, -44), (23, 22, 25)),
    "hypopharynx": ((9, -9, -32), (21, 20, 27)),
    "nasopharynx": ((4, -18, 42), (29, 23, 22)),
    "oral cavity": ((13, -46, 4), (24, 26, 19)),
}
# jugular nodes of levels II to IV, left side
NECK_MM: tuple[Point, ...] = ((38, 4, 28), (38, 3, 0), (36, 3, -35), (34, 6, -65), (34, 12, -95))


def sample_targets(jitter: Jitter, body: AbstractShape, keep_out: tuple[AbstractShape, ...]) -> tuple[Target, ...]:
    """Return one to three targets, highest dose first.

    Args:
        jitter: Source of randomness.
        body: Patient outline; targets stay `SKIN_MM` inside it.
        keep_out: What targets never cover (cord and brainstem with margins).
    """
    side = 1.0 if jitter.chance(0.5) else -1.0
    mean, radii = PRIMARIES[list(PRIMARIES)[int(jitter.uniform(0, len(PRIMARIES)))]]
    size = jitter.uniform(0.9, 1.35)
    x, y, z = jitter.point(mean, 3.0)
    rx, ry, rz = jitter.radii(radii, 0.1)
    primary = Ellipsoid((side * x, y, z), (rx * size, ry * size, rz * size), exponent=2.2)
    high = Union((primary, _node(jitter, side))) if jitter.chance(0.6) else primary
    near, far = _neck(jitter, side), _neck(jitter, -side)
    lowest_mm = jitter.number(-45, 8)
    upper = sum(z >= lowest_mm for _, _, z in near.points_xyz_mm)
    involved = Tube(near.points_xyz_mm[:upper], near.radii_mm[:upper], near.squash_xyz)
    margin_mm = jitter.uniform(6, 9)
    mid = Union((Inflated(high, margin_mm), involved))
    low = Union((Inflated(high, margin_mm + jitter.uniform(4, 7)), near, far))
    lot = jitter.uniform(0, 1)
    count = 1 + int(lot > 0.15) + int(lot > 0.55)
    drawn = [("PTV_High", high, HIGH_GY), ("PTV_Mid", mid, MID_GY), ("PTV_Low", low, LOW_GY)]
    chosen = {1: drawn[:1], 2: [drawn[0], drawn[2]], 3: drawn}[count]
    inner = Inflated(body, -SKIN_MM)
    return tuple(Target(name, Within(shape, inside=(inner,), outside=keep_out), dose) for name, shape, dose in chosen)


def _node(jitter: Jitter, side: float) -> Ellipsoid:
    size = jitter.uniform(0.8, 1.2)
    return Ellipsoid(
        (side * jitter.number(37, 2), jitter.number(2, 3), jitter.uniform(-30, 5)), (16 * size, 18 * size, 22 * size)
    )


def _neck(jitter: Jitter, side: float) -> Tube:
    radius = jitter.number(13.5, 1.0)
    points = [jitter.point((side * x, y, z), 1.0) for x, y, z in NECK_MM]
    return spline_tube(points, [radius] * len(points), squash_xyz=(1.0, 1.25, 1.0))
