"""The samples artifact (what a policy answered, k times per prompt): read, paired up, made records of. Torch-free."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contract import Input
from components.errors import ArtifactError, RecordError
from components.records import UNKNOWN, Record, make_record, read_lines, simple_task, text_candidate, validate
from components.records.files import read_json
from components.records.schema import shape_problems

_RAW = 500  # characters of a bad item kept in quarantine


@dataclass(frozen=True)
class Sample:
    """One completion. `line` is its line in samples.jsonl; `finish` is "eos" or "length" (cut off)."""

    prompt_key: str
    messages: tuple[dict[str, str], ...]
    sample: int
    completion: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str
    seed: int
    line: int

    def quarantined(self, rule: str, where: str, reason: str) -> dict[str, Any]:
        """The quarantine row of a sample that gave no record."""
        return _quarantine_row(self.line, where, rule, f"sample {self.sample}: {reason}", {"a": self.completion})


@dataclass(frozen=True)
class SamplePair:
    """Two completions of one prompt: the one with the lower index first, or one of each of two artifacts."""

    a: Sample
    b: Sample

    @property
    def key(self) -> str:
        return f"{self.a.prompt_key}:{self.a.sample}:{self.b.sample}"

    @property
    def identical(self) -> bool:
        return self.a.completion == self.b.completion

    def quarantined(self, rule: str, where: str, reason: str) -> dict[str, Any]:
        """The quarantine row of a pair that gave no record."""
        raw = {"a": self.a.completion, "b": self.b.completion}
        reason = f"samples {self.a.sample} and {self.b.sample}: {reason}"
        return _quarantine_row(self.a.line, where, rule, reason, raw)


def _quarantine_row(line: int, where: str, rule: str, reason: str, raw: dict[str, str]) -> dict[str, Any]:
    text = json.dumps(raw, ensure_ascii=False)[:_RAW]
    return {"file": "samples.jsonl", "line": line, "field": where, "rule": rule, "reason": reason, "raw": text}


@dataclass(frozen=True)
class Pairing:
    """Pairs that were put forward, and what there is no annotation for: identical ones are counted, blank ones
    quarantined."""

    forward: list[SamplePair] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    n_prompts: int = 0
    n_prompts_single: int = 0

    @property
    def pairs(self) -> list[SamplePair]:
        """The pairs that are worth an annotation."""
        return [pair for pair in self.forward if not pair.identical]

    def counts(self) -> dict[str, int]:
        n_pairs = len(self.pairs)
        return {
            "n_prompts": self.n_prompts,
            "n_prompts_single": self.n_prompts_single,
            "n_pairs": n_pairs,
            "n_identical": len(self.forward) - n_pairs,
        }


def read_samples(folder: Path) -> list[Sample]:
    """Every line of samples.jsonl. Raises RecordError with the line of the first bad one."""
    samples = []
    for line, row in enumerate(read_lines(folder / "samples.jsonl"), start=1):
        named = {name: row[name] for name in _SAMPLE if name in row} if isinstance(row, dict) else row
        for where, what in shape_problems(_SAMPLE, named, ""):
            raise RecordError(
                f"samples.jsonl:{line}: not a sample ({where or 'it'} {what}). Rerun response_sampling.",
                rule="sample",
                file="samples.jsonl",
                line=line,
            )
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in named.items()
        }
        samples.append(Sample(**fields, line=line))
    return samples


_SAMPLE = {
    "prompt_key": str,
    "messages": [{"role": str, "content": str}],
    "sample": int,
    "completion": str,
    "token_ids": [int],
    "logprobs": [float],
    "finish": str,
    "seed": int,
}
"""One line of samples.jsonl, in the kinds of records/schema.py."""


def schedule(n: int) -> list[tuple[int, int]]:
    """All pairs i < j of n players, round by round (circle method): within a round nobody plays twice.

    The first pairs of the list therefore use every sample about equally often.
    """
    players = list(range(n + n % 2))
    pairs = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        games = [tuple(sorted(game)) for game in zip(players[:half], reversed(players[half:]))]
        pairs += [(i, j) for i, j in sorted(games) if j < n]  # player n of an odd field is the bye
        players = [players[0], players[-1], *players[1:-1]]
    return pairs


def by_prompt(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """The samples of each prompt by index, prompts in file order."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.prompt_key].append(sample)
    return {key: sorted(group, key=lambda sample: sample.sample) for key, group in groups.items()}


def pair_up(samples: Sequence[Sample], pairs_per_prompt: int) -> Pairing:
    """At most `pairs_per_prompt` pairs per prompt, prompts in file order. A blank completion quarantines its pair."""
    groups = by_prompt(samples)
    forward, quarantine = [], []
    for group in groups.values():
        for i, j in schedule(len(group))[:pairs_per_prompt]:
            pair = SamplePair(group[i], group[j])
            if pair.identical or (pair.a.completion.strip() and pair.b.completion.strip()):
                forward.append(pair)
            else:
                quarantine.append(pair.quarantined("candidate_not_empty", "completion", "a completion is blank"))
    single = sum(len(group) < 2 for group in groups.values())
    return Pairing(forward, quarantine, len(groups), single)


def pair_across(samples: Sequence[Sample], against: Sequence[Sample], where: str) -> Pairing:
    """Sample 0 of each prompt against sample 0 of the other artifact, blank ones too: each prompt decides something.

    Raises ArtifactError unless both answer the same prompts.
    """
    ours, theirs = ({s.prompt_key: s for s in group if s.sample == 0} for group in (samples, against))
    if lone := ours.keys() ^ theirs.keys():
        raise ArtifactError(
            f"{where}: answers other prompts than the samples (got {len(lone)} in one of the two only, such as "
            f"{min(lone)[:12]}). Sample both with the same prompts, n_prompts and seed."
        )
    return Pairing([SamplePair(ours[key], theirs[key]) for key in ours], [], len(ours))


@dataclass(frozen=True)
class Origin:
    """Where the samples of one artifact come from: what every candidate made of them says about it."""

    policy: str
    sampler: dict[str, Any]
    id: str


def read_origin(samples: Input) -> Origin:
    """The policy and sampler settings that summary.json names. Raises ArtifactError if it does not name them."""
    summary = read_json(samples.path / "summary.json", "Rerun response_sampling.")
    try:
        return Origin(str(summary["policy"]), dict(summary["sampler"]), samples.id)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{samples.path}/summary.json: does not say policy and sampler ({type(error).__name__}: {error}). "
            "Rerun response_sampling."
        ) from error


Candidates = Mapping[str, tuple[Sample, Origin]]
"""The candidates of a record by the names that its judgments use."""


def sample_record(
    candidates: Candidates,
    judgments: list[dict[str, Any]],
    annotator: dict[str, Any],
    provenance: dict[str, Any],
    *,
    context: dict[str, Any] | None = None,
    n_retries: int = 0,
) -> Record:
    """The valid FMT-00 record of judged samples of one prompt. `provenance`: source, license, run_id; the content ids
    of the samples are added. Raises RecordError."""
    prompt = next(iter(candidates.values()))[0].messages
    ids = sorted({origin.id for _, origin in candidates.values()})
    record = make_record(
        task=simple_task([dict(message) for message in prompt], lang=UNKNOWN),
        context=context,
        candidates=[_candidate(cid, sample, origin) for cid, (sample, origin) in candidates.items()],
        judgments=judgments,
        annotator=annotator,
        quality={"parse_ok": True, "n_retries": n_retries},
        provenance={**provenance, "data_rev": " + ".join(ids)},
    )
    validate(record)
    return record


def _candidate(cid: str, sample: Sample, origin: Origin) -> dict[str, Any]:
    return text_candidate(
        cid,
        sample.completion,
        name=origin.policy,
        revision=origin.policy,
        params=origin.sampler,
        seed=sample.seed,
        n_tokens=len(sample.token_ids),
        logprob_sum=float(sum(sample.logprobs)),
        truncated=sample.finish == "length",
    )
