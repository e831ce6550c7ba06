"""The GDP-HMM challenge's files: read without running what is pickled in them, and written."""

from dosewright.io.gdp_hmm.reader import GdpHmmReader
from dosewright.io.gdp_hmm.writer import GdpHmmWriter

__all__ = ["GdpHmmReader", "GdpHmmWriter"]
