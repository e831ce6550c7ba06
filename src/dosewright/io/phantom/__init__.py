"""Random patients from a seed, for demos and tests where real ones cannot go."""

from dosewright.io.phantom.reader import PhantomAnatomyReader

__all__ = ["PhantomAnatomyReader"]
