"""Errors that say which file or argument broke which rule, and with what value."""

from pathlib import Path


class DosewrightError(Exception):
    """Base of every error the package raises on purpose."""


class InputError(DosewrightError, ValueError):
    """Input that breaks a rule.

    Args:
        rule: What must hold, as a sentence fragment ("must be finite").
        argument: Name of the offending argument, column or key.
        value: The value received; shortened when long.
        path: File or folder the value came from.

    >>> str(InputError("must be positive", argument="spacing_xyz_mm", value=(0.0, 1.0, 1.0)))
    'spacing_xyz_mm must be positive; got (0.0, 1.0, 1.0)'
    """

    _nothing = object()

    def __init__(
        self,
        rule: str,
        *,
        argument: str | None = None,
        value: object = _nothing,
        path: str | Path | None = None,
    ) -> None:
        self.rule, self.argument, self.path = rule, argument, path
        self.value, self._given = None if value is self._nothing else value, value
        text = f"{argument} {rule}" if argument else rule
        if value is not self._nothing:
            shown = repr(value)
            text += f"; got {shown if len(shown) <= 200 else shown[:197] + '...'}"
        super().__init__(f"{path}: {text}" if path else text)

    @classmethod
    def located(cls, error: "InputError", path: str | Path) -> "InputError":
        """Return `error` as an error of this class about `path`.

        >>> str(CaseError.located(InputError("must be 3", argument="axes", value=2), "pt_1"))
        'pt_1: axes must be 3; got 2'
        """
        return cls(error.rule, argument=error.argument, value=error._given, path=path)


class CaseError(InputError):
    """A patient case that cannot be built or read."""


class GridMismatchError(InputError):
    """Two volumes that ought to share a grid do not."""


class CheckpointError(InputError):
    """A checkpoint that does not fit what is asked of it."""


class SubmissionError(InputError):
    """A submission a challenge would refuse."""


class StorageError(DosewrightError, OSError):
    """Writing failed (disk full, no permission); what was written before is intact."""
