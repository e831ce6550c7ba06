"""Hostile files for every reader.

    python tests/hostile/run.py                       200 mutants per reader, with a table of what came of them
    python tests/hostile/run.py --count 20 --only XML  some readers, by a part of their name
    python tests/hostile/run.py --reader DICOM-RT --number 17 --show   one mutant, with what the reader said

Ends with 1 if a reader did what none may do.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hostile.attack import BAD, GOOD, Outcome, in_child
from hostile.subjects import subjects


def table(outcomes: list[Outcome], by_mutation: bool = False) -> str:
    """Return outcomes as rows of reader (× mutation) and counts."""
    kinds = [*GOOD, *(kind for kind in BAD if any(o.kind == kind for o in outcomes))]
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for outcome in outcomes:
        key = (outcome.subject, outcome.mutation) if by_mutation else (outcome.subject,)
        rows.setdefault(key, Counter())[outcome.kind] += 1
    header = (*(("reader", "mutation") if by_mutation else ("reader",)), "mutants", *kinds)
    lines = [header, *((*key, str(sum(n.values())), *(str(n[kind]) for kind in kinds)) for key, n in rows.items())]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    texts = (" | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {text} |" for text in texts)


def main(arguments: list[str]) -> int:
    """Attack, print tables and what went wrong; return 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="mutants per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a reader's name")
    parser.add_argument("--by-mutation", action="store_true", help="a row per reader and mutation")
    parser.add_argument("--show", action="store_true", help="what the reader said of every mutant")
    options = parser.parse_args(arguments)
    outcomes: list[Outcome] = []
    chosen = [subject for subject in subjects() if options.only.lower() in subject.name.lower()]
    for subject in chosen:
        begun = time.perf_counter()
        found = in_child(subject, options.count, options.seed)
        outcomes += found
        worst = max(o.megabytes for o in found)
        slowest = max(found, key=lambda o: o.seconds)
        print(
            f"{subject.name}: {len(found)} mutants in {time.perf_counter() - begun:.1f} s, "
            f"the slowest {slowest.seconds} s ({slowest.mutation}), at most {worst:.0f} MB more",
            file=sys.stderr,
        )
    print(table(outcomes, options.by_mutation))
    bad = [outcome for outcome in outcomes if outcome.kind in BAD]
    for o in outcomes if options.show else bad:
        print(f"\n{o.subject} #{o.number}: {o.mutation} of {o.file}: {o.kind} ({o.seconds} s)\n{o.text}")
    print(f"\n{len(outcomes)} mutants of {len(chosen)} readers, {len(bad)} of them a violation")
    return 1 if bad or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
