"""Plans for objectives read off a wanted dose, as a treatment planning system would get them."""

from dataclasses import dataclass, field
from typing import final

from dosewright.core import PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.extraction import extract_objectives
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.objectives.parts import left_out
from dosewright.planning.goals import AbstractPlanner, Goals


@final
@dataclass(frozen=True)
class ExtractedPlanner(AbstractPlanner):
    """Asks for the DVH points, means and target doses that `objectives.extraction` reads off the wanted dose.

    Args:
        extraction: Volumes, margins and priorities.
    """

    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return the objectives and the helper structures they name; see `AbstractPlanner.goals`."""
        found = extract_objectives(case, wanted_gy, self.extraction)
        helpers = {name: mask for name, mask in found.case.structures.items() if name not in case.structures}
        anatomy = () if found.anatomy is None else found.anatomy.sentences
        remarks = (*left_out(found.structures), *anatomy)
        return Goals(found.objectives, helpers, absent="skip", remarks=remarks)

    def fingerprint(self, case_id: str) -> str:
        """Return what is known of the case's history where goals follow the anatomy; all else is in the settings."""
        return "" if self.extraction.anatomy is None else self.extraction.anatomy.fingerprint(case_id)
