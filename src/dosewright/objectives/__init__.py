"""What a plan is asked for: objectives as plain data, compiled into a penalty on the dose."""

from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.objective import Objective
from dosewright.objectives.objective_file import read_objectives, write_objectives
from dosewright.objectives.penalty import DosePenalty

__all__ = ["DosePenalty", "Objective", "compile_objectives", "read_objectives", "write_objectives"]
