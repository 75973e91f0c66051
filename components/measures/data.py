"""Whether the held-out prompts are held out (EVAL-01)."""

from __future__ import annotations

from components.measures.evidence import TestSet
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate


@MEASURES.row(
    method="EVAL-01",
    metric="contamination.exact",
    label="test prompts that also stand in the train split",
    format="percent",
    section="",
)
def contamination_exact(test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """Share of all test prompts that also stand in the train split."""
    return bootstrap.rate([float(x) for x in test.leaked])


@MEASURES.row(
    method="EVAL-01",
    metric="contamination.ngram_13",
    label="test prompts that share 13 words in a row with a train prompt",
    format="percent",
    section="",
)
def contamination_ngram(test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """Share of all test prompts that share 13 words in a row with a train prompt."""
    return bootstrap.rate([float(x) for x in test.overlapping])
