"""Single completions, each asked about once."""

from __future__ import annotations

from typing import Any

from components.contract import Inputs
from components.errors import WiringError
from components.judges import Judge, TextItem, reply_stats
from components.llm_feedback.asked import Asked, Case
from components.llm_feedback.params import Params
from components.records.samples import read_origin, read_samples


def ask_completions(judge: Judge[TextItem, Any], params: Params, inputs: Inputs) -> Asked:
    """Every sample that is not blank. Raises WiringError for samples to compare with, which nothing here would read."""
    if "against" in inputs:
        raise WiringError(
            f"llm_feedback --in against: {params.contract.ref} asks about single completions. Leave it out, or choose "
            "a contract of pairs."
        )
    source = inputs["samples"]
    origin, samples = read_origin(source), read_samples(source.path)
    blank = [sample for sample in samples if not sample.completion.strip()]
    graded = [sample for sample in samples if sample.completion.strip()]
    items = [TextItem(f"{s.prompt_key}:{s.sample}", s.messages, s.completion) for s in graded]
    replies = judge.answer(items)
    cases = [
        Case(sample, {"a": (sample, origin)}, item, {"reply": reply}, (reply,))
        for sample, item, reply in zip(graded, items, replies, strict=True)
    ]
    stats = reply_stats(replies)
    counts = {"n_prompts": len({sample.prompt_key for sample in samples}), "n_completions": len(samples)}
    quarantine = [s.quarantined("candidate_not_empty", "completion", "the completion is blank") for s in blank]
    return Asked(cases, quarantine, {**stats, **counts}, stats)
