"""A small world of instructions whose true preference is known.

Three kinds of prompt, all about twelve categories of twelve words:

    list      "Name 3 fruits, but not apple. Only the words."
    verdict   "Is tin a bird? Just yes or no."
    kind      "What kind of thing is robin? Use a full sentence."

`prompts` draws them, `write` answers one like a person of a given quality, `gold_utility` is the truth: it reads the
text that stands there, so any model's output can be scored. Annotators, judges and evaluation may look at the truth;
training code never does. Torch-free.
"""

from __future__ import annotations

from components.simulation.gold import TERMS, gold_terms, gold_utility
from components.simulation.instructions import Instruction, parse, prompts, understand
from components.simulation.writer import FAULTS, write

__all__ = [
    "FAULTS",
    "TERMS",
    "Instruction",
    "gold_terms",
    "gold_utility",
    "parse",
    "prompts",
    "understand",
    "write",
]
