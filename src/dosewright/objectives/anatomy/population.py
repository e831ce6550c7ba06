"""How large organs are in a population, so that a patient's own can be called small or large."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dosewright.core import InputError
from dosewright.core.files import atomic_write

SHIPPED = Path(__file__).with_name("population_openkbp.json")


@dataclass(frozen=True)
class VolumeNorm:
    """Volumes of one organ in a population.

    Args:
        mean_cc: Mean volume in cm³.
        sd_cc: Standard deviation, with n − 1.
        patients: How many patients have the organ.

    Raises:
        InputError: If a number is not positive and finite.
    """

    mean_cc: float
    sd_cc: float
    patients: int

    def __post_init__(self) -> None:
        for name in ("mean_cc", "sd_cc", "patients"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError("must be positive and finite", argument=name, value=value)

    @classmethod
    def of(cls, volumes_cc: Sequence[float]) -> "VolumeNorm":
        """Return the norm of some patients' volumes.

        Raises:
            InputError: If there are fewer than two, or all are the same.

        >>> VolumeNorm.of([20.0, 30.0, 40.0])
        VolumeNorm(mean_cc=30.0, sd_cc=10.0, patients=3)
        """
        if len(volumes_cc) < 2:
            raise InputError("must be at least two", argument="volumes_cc", value=tuple(volumes_cc))
        return cls(round(float(np.mean(volumes_cc)), 4), round(float(np.std(volumes_cc, ddof=1)), 4), len(volumes_cc))

    def z_score(self, volume_cc: float) -> float:
        """Return by how many standard deviations a volume lies above the mean.

        >>> VolumeNorm(30.0, 10.0, 3).z_score(15.0)
        -1.5
        """
        return (volume_cc - self.mean_cc) / self.sd_cc


@dataclass(frozen=True)
class Population:
    """Norms of several organs.

    Args:
        volumes: Organ → its norm.
        source: Where they come from.
    """

    volumes: Mapping[str, VolumeNorm]
    source: str

    @classmethod
    def read(cls, path: str | Path | None = None) -> "Population":
        """Return the norms of a JSON file; None means those that ship, of OpenKBP's training patients.

        Raises:
            InputError: If the file is missing or not of this form.
        """
        path = SHIPPED if path is None else Path(path).expanduser()
        try:
            content = json.loads(path.read_text())
            return cls({name: VolumeNorm(**norm) for name, norm in content["volumes"].items()}, str(content["source"]))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", argument="population", path=path) from error
        except InputError as error:
            raise InputError.located(error, path) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"must be norms in JSON ({error!r})", argument="population", path=path) from error

    def write(self, path: str | Path) -> Path:
        """Write the norms as JSON and return the file."""
        content = {"source": self.source, "volumes": {name: asdict(norm) for name, norm in self.volumes.items()}}
        return atomic_write(path, json.dumps(content, indent=1) + "\n")

    def z_score(self, organ: str, volume_cc: float) -> float | None:
        """Return the z-score of an organ's volume; None for an organ without a norm."""
        norm = self.volumes.get(organ)
        return None if norm is None else norm.z_score(volume_cc)
