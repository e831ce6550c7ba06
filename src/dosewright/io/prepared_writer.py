"""Cases written as prepared cases."""

from pathlib import Path
from typing import final

from dosewright.core import PatientCase
from dosewright.io.prepared import SUFFIX, write_case
from dosewright.io.writer import AbstractWriter, Origin


@final
class PreparedWriter(AbstractWriter):
    """Writes `<case_id>.case` files, which `data=prepared` reads; see `io.prepared`."""

    def write(self, case: PatientCase, folder: Path, origin: Origin | None = None) -> tuple[Path, ...]:
        """Write one case; see `AbstractWriter.write`."""
        path = folder / f"{case.case_id}{SUFFIX}"
        write_case(path, case, "" if origin is None else origin.fingerprint)
        return (path,)
