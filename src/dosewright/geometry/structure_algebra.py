"""Structure expressions evaluated: masks of a grid from masks of the same grid."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from dosewright.core import Grid
from dosewright.core.errors import GridMismatchError, InputError
from dosewright.core.types import Mask, Triple
from dosewright.geometry.margins import grown, shrunk
from dosewright.geometry.structure_expression import Combined, Expression, Margin, Named, as_expression

BODY_NAMES = ("Body", "BODY", "External")


class MissingStructureError(InputError):
    """An expression names structures that are not there."""


def structure_mask(
    expression: Expression | str,
    masks: Mapping[str, Mask],
    grid: Grid,
    body: Mask | None = None,
    absent: str = "raise",
) -> Mask:
    """Return the mask of a structure expression.

    Args:
        expression: What the structure is made of, parsed or as text.
        masks: Name → mask on the grid.
        grid: The grid of all masks; margins are in its millimetres (see `geometry.margins`).
        body: What `Body`, `BODY` and `External` mean; None looks for these names in `masks`.
        absent: "raise", or "empty" to take structures that are not there as empty.

    Raises:
        ExpressionError: If a text is not an expression.
        GridMismatchError: If a mask has another shape than the grid.
        InputError: If `absent` is neither of the two.
        MissingStructureError: If structures are not there, all of them listed.

    >>> mask = np.zeros((1, 1, 5), bool)
    >>> mask[0, 0, 1] = True
    >>> structure_mask("(A + 4mm) - A", {"A": mask}, Grid((1, 1, 5), (2.0, 2.0, 2.0))).ravel().astype(int).tolist()
    [1, 0, 1, 1, 0]
    """
    return StructureAlgebra(masks, grid, body).mask(expression, absent)


class StructureAlgebra:
    """Evaluates expressions over the same structures; grown structures are kept, so that rings share their work.

    Args:
        masks: See `structure_mask`, as the next two.
        grid: See above.
        body: See above.
    """

    def __init__(self, masks: Mapping[str, Mask], grid: Grid, body: Mask | None = None) -> None:
        self.masks, self.grid = dict(masks), grid
        if body is not None:
            self.masks |= dict.fromkeys(BODY_NAMES, body)
        self._margins: dict[Margin, Mask] = {}

    def missing(self, expression: Expression | str) -> tuple[str, ...]:
        """Return the names of an expression that no structure has."""
        return tuple(name for name in as_expression(expression).names if name not in self.masks)

    def add(self, name: str, mask: Mask) -> None:
        """Make a structure known to the expressions evaluated from now on, instead of any of that name."""
        self.masks[name] = mask
        self._margins = {kept: grown for kept, grown in self._margins.items() if name not in kept.names}

    def mask(self, expression: Expression | str, absent: str = "raise") -> Mask:
        """Return the mask of an expression; see `structure_mask`."""
        if absent not in ("raise", "empty"):
            raise InputError('must be "raise" or "empty"', argument="absent", value=absent)
        read = as_expression(expression)
        missing = self.missing(read)
        if missing and absent == "raise":
            raise MissingStructureError(
                "must name structures that are there; there are none called " + self._told(missing),
                argument="expression",
                value=str(read),
            )
        return self._evaluated(read).copy()

    def _evaluated(self, expression: Expression) -> Mask:
        match expression:
            case Named():
                return self._named(expression.name)
            case Margin():
                return self._with_margin(expression)
            case Combined():
                return self._combined(expression)
        raise InputError("must be of the kinds that `parse` returns", argument="expression", value=expression)

    def _combined(self, expression: Combined) -> Mask:
        first, *others = (self._evaluated(operand) for operand in expression.operands)
        result = first.copy()
        for other in others:
            if expression.operator == "|":
                result |= other
            elif expression.operator == "&":
                result &= other
            else:
                result &= ~other
        return result

    def _named(self, name: str) -> Mask:
        mask = self.masks.get(name)
        if mask is None:
            return np.zeros(self.grid.shape_zyx, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise InputError(
                "must be a boolean array", argument=name, value=getattr(mask, "dtype", type(mask).__name__)
            )
        if mask.shape != self.grid.shape_zyx:
            raise GridMismatchError(
                f"must have the grid's shape {self.grid.shape_zyx}", argument=name, value=mask.shape
            )
        return mask

    def _with_margin(self, expression: Margin) -> Mask:
        found = self._margins.get(expression)
        if found is None:
            x, y, z = expression.margin_xyz_mm
            margin_zyx_mm: Triple = (z, y, x)
            change = shrunk if expression.inward else grown
            found = change(self._evaluated(expression.operand), self.grid.spacing_zyx_mm, margin_zyx_mm)
            self._margins[expression] = found
        return found

    def _told(self, missing: tuple[str, ...]) -> str:
        """Return the missing names with what may have been meant."""
        return "; ".join(name + self._hint(name) for name in missing)

    def _hint(self, name: str) -> str:
        first, _, rest = name.partition("-")
        if rest and first in self.masks and rest in self.masks:
            return f" (a difference has blanks around its minus: {first} - {rest})"
        near = get_close_matches(name, self.masks, n=1)
        return f" (is it {near[0]}?)" if near else ""
