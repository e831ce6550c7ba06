"""How a case is to be treated, as numbers a net can read."""

from typing import get_args

from dosewright.core.case import PatientCase, Technique

TECHNIQUES: tuple[str, ...] = get_args(Technique)
SITES = ("HeadNeck", "Lung", "Prostate", "Brain", "Breast", "Abdomen")
SIZE = len(TECHNIQUES) + len(SITES)


def plan_code(case: PatientCase) -> tuple[float, ...]:
    """Return a case's technique, then its site, one-hot; an unlisted site reads all zero.

    The order is part of every conditioned net's weights: append, never reorder.
    """
    return tuple(
        float(known == value)
        for listed, value in ((TECHNIQUES, case.technique), (SITES, case.site))
        for known in listed
    )
