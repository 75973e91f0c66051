"""Rules that need no annotator: a function over the samples of one prompt, and what comes with them, to judgments."""

from components.heuristics.groups import Found, Pool
from components.heuristics.table import RULES

__all__ = ["RULES", "Found", "Pool"]
