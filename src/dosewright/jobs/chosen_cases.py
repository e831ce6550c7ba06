"""Which cases of a data set a job takes."""

from collections.abc import Sequence

from dosewright.core import InputError


def chosen_cases(cases: str | Sequence[str], case_ids: Sequence[str]) -> list[str]:
    """Return the cases that a configuration names, each once, in its order.

    Args:
        cases: "all", a case, or a list of cases.
        case_ids: Those there are.

    Raises:
        InputError: If one is not there, or none is named.

    >>> chosen_cases(["pt_2", "pt_1", "pt_2"], ["pt_1", "pt_2", "pt_3"])
    ['pt_2', 'pt_1']
    """
    wanted = list(case_ids) if cases == "all" else [cases] if isinstance(cases, str) else [str(case) for case in cases]
    wanted = list(dict.fromkeys(wanted))
    unknown = [case_id for case_id in wanted if case_id not in case_ids]
    if unknown or not wanted:
        raise InputError('must be "all" or a list of cases of this split', argument="cases", value=unknown)
    return wanted
