"""Free-text structure names → AAPM TG-263 names."""

from dosewright.io.tg263.levels import level_names, with_levels
from dosewright.io.tg263.match import How, Kind, NameMatch
from dosewright.io.tg263.matcher import TG263Matcher
from dosewright.io.tg263.name_table import names_table, write_names
from dosewright.io.tg263.overrides import read_overrides
from dosewright.io.tg263.report import NameReport
from dosewright.io.tg263.sides import settle_sides
from dosewright.io.tg263.target import dose_in_name_gy

__all__ = [
    "How",
    "Kind",
    "NameMatch",
    "NameReport",
    "TG263Matcher",
    "dose_in_name_gy",
    "level_names",
    "names_table",
    "read_overrides",
    "settle_sides",
    "with_levels",
    "write_names",
]
