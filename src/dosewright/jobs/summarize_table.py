"""Files of a summary of trainings: summary.md for people, summary.csv and summary.json for programs."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from dosewright.core.files import atomic_write
from dosewright.jobs.summarize_records import SCORES, Record, Summary, run_record, variant_record
from dosewright.jobs.summarize_run import FINISHED
from dosewright.jobs.summarize_variants import ABSENT, in_words

_NOTE = {
    True: "Sorted by the dose score of `dosewright evaluate`.",
    False: "Sorted by the dose score of the last validation in training, as not all finished runs were evaluated.",
}
_UNITS = (
    "Scores are the challenge's in Gy, lower is better. *Best* and *last* are dose / DVH score of the validations in "
    "training, in its precision and without flips; *dose score* and *DVH score* are those of `dosewright evaluate`, "
    "± SD over patients. *Training* is wall time, validations included; *per case* the median time of a prediction."
)

Columns = tuple[tuple[str, Callable[[Record], str]], ...]


def write_tables(summary: Summary, folder: Path, pictures: Sequence[str], note: str = "") -> Path:
    """Write summary.csv, summary.json and summary.md into `folder`; return the last.

    Args:
        summary: The runs.
        folder: Where the files go.
        pictures: Names of picture files in `folder` that summary.md shows.
        note: Further line at its top, in Markdown.
    """
    atomic_write(folder / "summary.csv", _csv(_records(summary)))
    atomic_write(folder / "summary.json", json.dumps(as_plain(summary), indent=1, allow_nan=False) + "\n")
    return atomic_write(folder / "summary.md", markdown(summary, pictures, note))


def as_plain(summary: Summary) -> Record:
    """Return what summary.json holds: the runs with their learning curves, the variants, and how they were sorted."""
    runs = []
    for run, record in zip(summary.runs, _records(summary)):
        points = [{key: _plain(value) for key, value in asdict(point).items()} for point in run.curve]
        runs.append(record | {"validations": points})
    variants = [variant_record(variant) for variant in summary.variants]
    return {"ranked_by": summary.ranked_by, "usual": summary.usual, "runs": runs, "variants": variants}


def markdown(summary: Summary, pictures: Sequence[str] = (), note: str = "") -> str:
    """Return the tables as GitHub Markdown, with what they leave out below them."""
    records = _records(summary)
    parts = ["# Summary of trainings", f"{_NOTE[summary.ranked_by == SCORES]} {_UNITS}"]
    parts += [note] if note else []
    if any(len(variant.runs) > 1 for variant in summary.variants):
        parts += ["## Variants", "Means over seeds, ± SD over them."]
        parts.append(_table([variant_record(variant) for variant in summary.variants], _VARIANT_COLUMNS))
    parts += ["## Runs", _table(records, _RUN_COLUMNS)]
    if summary.usual:
        parts.append(f"Where *differs in* says nothing: {_escaped(in_words(summary.usual))}.")
    devices = dict.fromkeys(record["devices"] for record in records if record["devices"])
    if devices:
        parts.append(f"Trained on: {_escaped('; '.join(devices))}.")
    remarks = [f"- {_number(r)} ({r['status']}): {_escaped(r['remarks'])}" for r in records if r["remarks"]]
    if remarks:
        parts += ["## Remarks", "\n".join(remarks)]
    others = list(dict.fromkeys(key for record in records for key in record if key.startswith("last val/")))
    if others:
        columns = tuple((key.removeprefix("last "), _figure(key, "{:.4g}")) for key in others)
        parts += ["## Further metrics of the last validation", _table(records, (*_RUN_COLUMNS[:4], *columns))]
    parts += [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in pictures]
    parts += ["## Folders", "\n".join(f"{record['number']}. `{record['folder']}`" for record in records)]
    return "\n\n".join(parts) + "\n"


def _records(summary: Summary) -> list[Record]:
    return [
        {"number": number} | run_record(run, told)
        for number, (run, told) in enumerate(zip(summary.runs, summary.told), start=1)
    ]


def duration(seconds: float) -> str:
    """Return a time in the units of a clock on the wall.

    >>> duration(0.044), duration(38.4), duration(2820.0), duration(7500.0)
    ('44 ms', '38 s', '47 min', '2 h 05 min')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _figure(key: str, form: str = "{}") -> Callable[[Record], str]:
    return lambda record: ABSENT if record.get(key) in (None, "") else form.format(record[key])


def _time(key: str) -> Callable[[Record], str]:
    return lambda record: ABSENT if record[key] is None else duration(record[key])


def _pair(when: str) -> Callable[[Record], str]:
    """Return the cell "dose / DVH" of the best or the last validation."""

    def cell(record: Record) -> str:
        values = [record[f"{when}_{kind}_score_gy"] for kind in ("dose", "dvh")]
        if values == [None, None]:
            return ABSENT
        return " / ".join("nan" if value is None else f"{value:.3f}" for value in values)

    return cell


def _with_deviation(key: str, deviation: str) -> Callable[[Record], str]:
    def cell(record: Record) -> str:
        if record[key] is None:
            return ABSENT
        return f"{record[key]:.3f}" + ("" if record[deviation] is None else f" ± {record[deviation]:.3f}")

    return cell


def _number(record: Record) -> str:
    return f"{record['number']}. {_escaped(record['name'] or Path(record['folder']).name)}"


def _seeds(record: Record) -> str:
    return ", ".join(str(seed) for seed in sorted(record["seeds"], key=str))


_RUN_COLUMNS: Columns = (
    ("run", _number),
    ("differs in", lambda record: _escaped(record["differences"]) or ABSENT),
    ("seed", _figure("seed")),
    ("state", lambda record: ABSENT if record["status"] == FINISHED else record["status"]),
    ("steps", _figure("steps")),
    ("epochs", _figure("epochs")),
    ("training", _time("training_seconds")),
    ("parameters", _figure("parameters", "{:,}")),
    ("best [Gy]", _pair("best")),
    ("at epoch", _figure("best_epoch", "{:.4g}")),
    ("last [Gy]", _pair("last")),
    ("dose score [Gy]", _with_deviation("dose_score_gy", "dose_score_sd_gy")),
    ("DVH score [Gy]", _with_deviation("dvh_score_gy", "dvh_score_sd_gy")),
    ("patients", _figure("patients")),
    ("per case", _time("seconds_per_case")),
)
_VARIANT_COLUMNS: Columns = (
    ("variant", lambda record: _escaped(record["variant"])),
    ("seeds", _seeds),
    ("steps", _figure("steps")),
    ("training", _time("training_seconds")),
    ("parameters", _figure("parameters", "{:,}")),
    ("last dose [Gy]", _with_deviation("last_dose_score_gy", "last_dose_score_sd_over_seeds_gy")),
    ("last DVH [Gy]", _with_deviation("last_dvh_score_gy", "last_dvh_score_sd_over_seeds_gy")),
    ("dose score [Gy]", _with_deviation("dose_score_gy", "dose_score_sd_over_seeds_gy")),
    ("DVH score [Gy]", _with_deviation("dvh_score_gy", "dvh_score_sd_over_seeds_gy")),
    ("per case", _time("seconds_per_case")),
)
_LEFT = ("run", "variant", "differs in", "state", "seeds")


def _table(records: Sequence[Record], columns: Columns) -> str:
    """Return a Markdown table without the columns that are empty throughout."""
    filled = [(name, [cell(record) for record in records]) for name, cell in columns]
    filled = [(name, cells) for name, cells in filled if any(cell != ABSENT for cell in cells)]
    lines = [[name for name, _ in filled], ["---" if name in _LEFT else "---:" for name, _ in filled]]
    lines += [list(row) for row in zip(*(cells for _, cells in filled))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv(records: Sequence[Record]) -> str:
    text = io.StringIO()
    header = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    >>> _escaped("a|b\n*c* d_e")
    'a\\|b \\*c\\* d_e'
    """
    one_line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\|*`<>" else c for c in one_line)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
