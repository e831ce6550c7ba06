"""What every format of a planning system can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dosewright.core.files import atomic_write
from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.outcome import Remark, Translation, Written

UNTESTED = "Nobody could test it in that system here: look at every objective after the import."
RESEARCH = "For research only, not for clinical use."


class AbstractFormat(ABC):
    """Writes objectives for one planning system.

    Attributes:
        name: As `format=` names it.
        doses: Unit of the doses it writes, and whether they are total or per fraction.
        files: Files it writes.
        name_rule: What it takes as a structure's name.
        notes: What a person must know of it.
    """

    name: ClassVar[str]
    doses: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    name_rule: ClassVar[NameRule]
    notes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def translate(self, item: ExportItem) -> Translation:
        """Return an objective in the format's own terms.

        Raises:
            InputError: If a number is beyond the system's limits.
        """

    @abstractmethod
    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """Return the content of each of `files`.

        Args:
            content: What the plan is.
            entries: Structure → what `translate` made of its objectives.
        """

    def write(self, folder: str | Path, content: ExportContent) -> Written:
        """Write the files into a folder and return what is in them and what is not.

        Raises:
            InputError: If a name or a number is beyond the system's limits.
            StorageError: If a file cannot be written.
        """
        entries: dict[str, tuple[Any, ...]] = {}
        remarks = []
        for item in content.items:
            translation, structure = self.translate(item), item.objective.structure
            if translation.entries:
                entries[structure] = (*entries.get(structure, ()), *translation.entries)
            if translation.reason:
                remarks.append(Remark.of(item.objective, translation))
        self.name_rule.check({structure: content.names[structure] for structure in entries})
        for name, text in self.render(content, entries).items():
            atomic_write(Path(folder) / name, text)
        return Written(self.files, self.doses, tuple(remarks), self.notes)
