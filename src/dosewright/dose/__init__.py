"""Dose-volume histograms, indices and challenge scores of a dose on a patient."""

from dosewright.dose.case_dose import CaseDose
from dosewright.dose.conformity import gradient_index, homogeneity_index, paddick_ci, rtog_ci
from dosewright.dose.dvh import (
    dose_at_cc,
    dose_at_volume,
    dvh_curve,
    generalized_eud,
    max_dose,
    mean_dose,
    min_dose,
    volume_at_dose,
)
from dosewright.dose.indices import DoseIndex, IndexKind
from dosewright.dose.table import DvhCurves, IndexRow, default_indices, dvh_curves, index_table

__all__ = [
    "CaseDose",
    "DoseIndex",
    "DvhCurves",
    "IndexKind",
    "IndexRow",
    "default_indices",
    "dose_at_cc",
    "dose_at_volume",
    "dvh_curve",
    "dvh_curves",
    "generalized_eud",
    "gradient_index",
    "homogeneity_index",
    "index_table",
    "max_dose",
    "mean_dose",
    "min_dose",
    "paddick_ci",
    "rtog_ci",
    "volume_at_dose",
]
