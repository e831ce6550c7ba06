import pytest
from hydra.utils import instantiate

from dosewright.core import InputError
from dosewright.objectives.extraction_rules import AIRTP_RULES, ExtractionSettings, MarginRule, TargetRule
from dosewright.objectives.parts import Part
from tiny import config


def published(name: str, value: float, volume: float | None) -> tuple[float, float]:
    """AIRTP's conversion (arXiv:2501.11803, Fig. 3), written down again from its description."""
    beside_target = "-PTV" in name
    if beside_target and value > 20:
        return max(0.95 * value, value - 3), 120.0
    if not beside_target and value > 63:
        return value - 1, 80.0
    weak = value < 10 or (value < 20 and volume is not None and volume < 50)
    return max(0.95 * value, value - 2), 80.0 if weak else 120.0


@pytest.mark.parametrize("part", [Part.ORGAN, Part.CROPPED])
@pytest.mark.parametrize("volume", [None, 1.0, 40.0, 50.0, 80.0])
def test_the_default_rules_are_the_published_ones(part: Part, volume: float | None) -> None:
    settings, name = ExtractionSettings(), "Larynx-PTV" if part is Part.CROPPED else "Larynx"
    for tenths in range(800):
        dose_gy = tenths / 10
        rule = settings.rule_for(part, dose_gy, volume)
        wanted_gy, priority = published(name, dose_gy, volume)
        assert rule.objective_gy(dose_gy) == pytest.approx(wanted_gy, abs=1e-12), dose_gy
        assert rule.priority == priority, dose_gy


@pytest.mark.parametrize("part", [Part.RING, Part.TISSUE])
def test_what_is_around_targets_has_no_margin(part: Part) -> None:
    for dose_gy in (0.0, 5.0, 30.0, 72.0):
        assert ExtractionSettings().rule_for(part, dose_gy, 20.0).objective_gy(dose_gy) == dose_gy


def test_the_first_rule_that_matches_counts() -> None:
    first = MarginRule("first", 0.5, 100.0, 1.0, (Part.ORGAN,), above_gy=10.0, below_gy=20.0, below_volume_percent=30.0)
    settings = ExtractionSettings(rules=(first, *AIRTP_RULES))
    assert settings.rule_for(Part.ORGAN, 15.0, 20.0) is first
    for part, dose_gy, volume in (
        (Part.PRV, 15.0, 20.0),
        (Part.ORGAN, 10.0, 20.0),
        (Part.ORGAN, 20.0, 20.0),
        (Part.ORGAN, 15.0, 30.0),
        (Part.ORGAN, 15.0, None),
    ):
        assert settings.rule_for(part, dose_gy, volume) is not first
    assert first.objective_gy(15.0) == 7.5


def test_the_configuration_holds_the_defaults() -> None:
    assert instantiate(config("objectives").objectives, _convert_="all") == ExtractionSettings()


def test_lines_and_exact_objectives_differ_from_the_defaults_as_named() -> None:
    lines = instantiate(config("objectives", "objectives=lines").objectives, _convert_="all")
    assert lines == ExtractionSettings(volumes_percent=(), around_volumes_percent=(), line_step_percent=5)
    assert lines.line_volumes_percent == tuple(float(v) for v in range(0, 100, 5))
    exact = instantiate(config("objectives", "objectives=exact").objectives, _convert_="all")
    assert exact == ExtractionSettings(rules=(MarginRule("as it is", 1.0, 0.0, 100.0),))


def test_points_are_sorted_and_those_around_targets_are_their_own() -> None:
    settings = ExtractionSettings(volumes_percent=(30, 1), around_volumes_percent=(50,))
    assert settings.point_volumes_percent(Part.CROPPED) == (1.0, 30.0)
    assert settings.point_volumes_percent(Part.RING) == (50.0,)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"volumes_percent": (1, 100)}, r"volumes_percent must be different numbers in \[0, 100\)"),
        ({"volumes_percent": (1, 1.0)}, r"volumes_percent must be different numbers in \[0, 100\)"),
        ({"around_volumes_percent": (-1,)}, r"around_volumes_percent must be different numbers in \[0, 100\)"),
        ({"line_step_percent": 0.1}, r"line_step_percent must be null or in \[0.5, 50\]; got 0.1"),
        ({"line_priority": 0}, "line_priority must be positive and finite; got 0"),
        ({"maximum_cc": float("inf")}, "maximum_cc must be positive and finite; got inf"),
        ({"floor_gy": -1.0}, "floor_gy must be finite, zero or more; got -1.0"),
        ({"rules": AIRTP_RULES[:-1]}, "rules must hold a rule without bounds for organ"),
        ({"absent": "ignore"}, 'absent must be "report" or "raise"; got \'ignore\''),
        ({"rules": ()}, "rules must hold a rule without bounds for organ"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        ExtractionSettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"factor": 1.1}, r"factor of rule 'x' must be in \[0, 1\]; got 1.1"),
        ({"subtract_gy": -2.0}, "subtract_gy of rule 'x' must be finite, zero or more; got -2.0"),
        ({"priority": 0.0}, "priority of rule 'x' must be positive and finite; got 0.0"),
        ({"of": ("target",)}, r"of in rule 'x' must be some of \('organ', 'cropped', .*; got \('target',\)"),
        ({"of": ()}, r"of in rule 'x' must be some of"),
    ],
)
def test_rules_out_of_range_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        MarginRule(**({"name": "x", "factor": 1.0, "subtract_gy": 0.0, "priority": 1.0} | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"lower_factor": 0.0}, "lower_factor must be positive and finite; got 0.0"),
        ({"ring_priority": -1.0}, "ring_priority must be positive and finite; got -1.0"),
        ({"lower_factor": 1.05}, r"lower_factor must be below upper_factor; got \(1.05, 1.05\)"),
    ],
)
def test_target_rules_out_of_range_are_refused(values: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        TargetRule(**values)
