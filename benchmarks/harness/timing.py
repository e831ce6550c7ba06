"""Medians, peak memory, and aligned tables."""

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch


def medians_ms(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median time of each work, after one call that is not counted.

    They take turns, so that whatever else the machine does meets all of them.
    """
    for work in works:
        work()
    found: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for times, work in zip(found, works, strict=True):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(times) for times in found]


def peak_gb() -> float:
    """Return the most memory this process has held so far, in GB (10⁹ bytes).

    On Linux from the high-water mark in /proc: `getrusage` there counts what the parent held when it started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def machine(*packages: str) -> str:
    """Return one line: processor, cores, threads, and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", *packages))
    return (
        f"{platform.machine()}, {cores} of {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, {versions}"
    )


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell, the first flush left, the others flush right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())
