"""The `dosewright` command: `dosewright <job> [hydra overrides]`."""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dosewright

#: Job → what it does, in one line; each is a module of `dosewright.jobs` (a hyphen is an underscore there) with
#: `run(cfg)`, and a `conf/<job>.yaml`.
JOBS = {
    "prepare": "turn a dataset into a compact cache that loads in milliseconds",
    "train": "train a dose-prediction net (experiment=NAME, --multirun for sweeps)",
    "predict": "predict doses for a dataset, optionally as a challenge submission",
    "evaluate": "score predictions against reference doses, with tables, DVHs and a report",
    "score": "points of a scorecard for any doses, item by item, with what could not be scored",
    "objectives": "turn doses into optimisation objectives with margins, as JSON, CSV and Markdown",
    "plan": "make a deliverable plan for a dose, with a report of how far it falls from it",
    "export": "write cases and doses for other programs: NIfTI, NRRD, DICOM, GDP-HMM, prepared",
    "deidentify": "copy DICOM-RT files without what tells whose they are",
    "sweep-preferences": "measure what a net's preference sliders do: ranges, monotonicity, DVHs",
    "summarize": "gather the trainings of a sweep into one table with plots",
    "generate": "make training plans at scale: cohort × beams × drawn preferences",
    "demo": "the whole way on phantoms: plans, training, prediction, evaluation, report",
}

USAGE = """usage: dosewright <job> [hydra overrides]

{jobs}

dosewright <job> --help        the job's configuration and its choices
dosewright <job> --cfg job     the configuration as composed
dosewright <job> key=value …   change a value; group=choice picks another file of conf/group
"""


def conf_dir() -> Path:
    """Return the folder of configurations: inside an installed package, else beside the source tree."""
    package = Path(dosewright.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def usage() -> str:
    """Return the help text with one line per job."""
    width = max(map(len, JOBS))
    return USAGE.format(jobs="\n".join(f"  {name:<{width}}  {line}" for name, line in JOBS.items()))


def main(argv: Sequence[str] | None = None) -> None:
    """Run one job; exits with 2 on a wrong call and 1 on a job's own error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"dosewright {dosewright.__version__}")
        raise SystemExit(0)
    job, *overrides = arguments
    if job not in JOBS:
        close = difflib.get_close_matches(job, JOBS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        print(f"dosewright: there is no job {job!r}{hint}\n\n{usage()}", file=sys.stderr)
        raise SystemExit(2)
    launch(job, overrides)


def launch(job: str, overrides: Sequence[str]) -> None:
    """Hand a job and its overrides to Hydra.

    Hydra reads its overrides from `sys.argv`; the job itself runs under the argv the process was started with, which is
    what Lightning starts the other ranks of a distributed training with.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "0")
    import hydra

    from dosewright.jobs import hydra_task

    hydra_task.register_resolvers()
    started_with = sys.argv
    sys.argv = [f"dosewright {job}", *overrides]
    task = hydra_task.Task(job, started_with)
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=job)(task)()


if __name__ == "__main__":
    main()
