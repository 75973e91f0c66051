"""The answers of the systems under comparison, and the prompts they answered."""

from __future__ import annotations

import json
from typing import Any

from components.contract.run import Input, Inputs
from components.errors import ArtifactError, WiringError
from components.measures.evidence import Answers
from components.records.samples import Sample, read_samples

SYSTEMS = ("candidate", "reference", "champion")
"""The systems by the names of their ports."""


def read_answers(inputs: Inputs) -> dict[str, Answers]:
    """The first answer of every system to every prompt, prompts in the order of the candidate's file.

    Raises WiringError if they answered different prompts or sampled in different ways, or if the candidate's answers
    are not those of `policy`.
    """
    found = {name: _read(item) for name in SYSTEMS if (item := inputs.get(name)) is not None}
    candidate = found["candidate"]
    if candidate.policy != inputs["policy"].id:
        raise WiringError(
            f"evaluation --in candidate: these are the answers of another policy (got {candidate.policy}, the policy "
            f"passed is {inputs['policy'].id}). Sample the answers of the policy that is evaluated."
        )
    for name, answers in found.items():
        _refuse_other_prompts(candidate, answers)
        _refuse_other_sampler(candidate, answers)
        found[name] = _in_order(answers, [sample.prompt_key for sample in candidate.samples])
    return found


def _read(item: Input) -> Answers:
    summary = _summary(item)
    first = [sample for sample in read_samples(item.path) if sample.sample == 0]
    if not first:
        raise ArtifactError(f"{item.path}/samples.jsonl: holds no sample 0 (got none). Rerun response_sampling.")
    sampler = {key: value for key, value in summary["sampler"].items() if key != "batch_size"}
    return Answers(item.port, item.id, str(summary["policy"]), str(summary.get("vocabulary", "")), sampler, first)


def _summary(item: Input) -> dict[str, Any]:
    path = item.path / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        known = isinstance(summary["policy"], str) and isinstance(summary["sampler"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: does not say policy and sampler ({error}). Rerun response_sampling.") from error
    if not known:
        raise ArtifactError(f"{path}: policy and sampler are not what they should be. Rerun response_sampling.")
    return dict(summary)


def _refuse_other_prompts(candidate: Answers, other: Answers) -> None:
    mine, theirs = ({sample.prompt_key for sample in answers.samples} for answers in (candidate, other))
    if mine == theirs:
        return
    example = min(mine ^ theirs)
    raise WiringError(
        f"evaluation --in {other.name}: the candidate and the {other.name} answered different prompts (got "
        f"{len(mine - theirs)} only by the candidate and {len(theirs - mine)} only by the {other.name}, for example "
        f"{example[:12]}). Sample both from one data set with the same parameters."
    )


def _refuse_other_sampler(candidate: Answers, other: Answers) -> None:
    if candidate.sampler == other.sampler:
        return
    differ = [key for key in candidate.sampler if candidate.sampler[key] != other.sampler.get(key)]
    raise WiringError(
        f"evaluation --in {other.name}: the candidate and the {other.name} were sampled in different ways (got other "
        f"{', '.join(differ) or 'settings'}). Sample both with the same parameters."
    )


def _in_order(answers: Answers, keys: list[str]) -> Answers:
    by_key: dict[str, Sample] = {sample.prompt_key: sample for sample in answers.samples}
    return Answers(**{**vars(answers), "samples": [by_key[key] for key in keys]})


def kl_is_defined(answers: Answers) -> bool:
    """Greedy and nucleus sampling draw from another distribution than the one whose log-probabilities are known."""
    return bool(answers.sampler.get("temperature", 0) > 0 and answers.sampler.get("top_p") == 1.0)
