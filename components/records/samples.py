"""The samples artifact (what a policy answered, k times per prompt), read and paired up for annotators. Torch-free."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contract import Input
from components.errors import ArtifactError, RecordError
from components.records import UNKNOWN, Record, make_record, read_lines, simple_task, text_candidate, validate

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


@dataclass(frozen=True)
class SamplePair:
    """Two different completions of one prompt, `a` the one with the lower sample index."""

    a: Sample
    b: Sample

    @property
    def key(self) -> str:
        return f"{self.a.prompt_key}:{self.a.sample}:{self.b.sample}"

    def quarantined(self, rule: str, where: str, reason: str) -> dict[str, Any]:
        """The quarantine row of a pair that gave no record."""
        raw = json.dumps({"a": self.a.completion, "b": self.b.completion}, ensure_ascii=False)[:_RAW]
        reason = f"samples {self.a.sample} and {self.b.sample}: {reason}"
        return {
            "file": "samples.jsonl",
            "line": self.a.line,
            "field": where,
            "rule": rule,
            "reason": reason,
            "raw": raw,
        }


@dataclass(frozen=True)
class Pairing:
    """Pairs worth an annotation, and what there is no annotation for: counted, or quarantined."""

    pairs: list[SamplePair] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    n_identical: int = 0
    n_prompts: int = 0
    n_prompts_single: int = 0

    def counts(self) -> dict[str, int]:
        return {
            "n_prompts": self.n_prompts,
            "n_prompts_single": self.n_prompts_single,
            "n_pairs": len(self.pairs),
            "n_identical": self.n_identical,
        }


def read_samples(folder: Path) -> list[Sample]:
    """Every line of samples.jsonl. Raises RecordError with the line of the first bad one."""
    samples = []
    for line, row in enumerate(read_lines(folder / "samples.jsonl"), start=1):
        try:
            samples.append(
                Sample(
                    prompt_key=row["prompt_key"],
                    messages=tuple(row["messages"]),
                    sample=row["sample"],
                    completion=row["completion"],
                    token_ids=tuple(row["token_ids"]),
                    logprobs=tuple(row["logprobs"]),
                    finish=row["finish"],
                    seed=row["seed"],
                    line=line,
                )
            )
        except (KeyError, TypeError) as error:
            raise RecordError(
                f"samples.jsonl:{line}: not a sample ({type(error).__name__}: {error}). Rerun response_sampling.",
                rule="sample",
                file="samples.jsonl",
                line=line,
            ) from error
    return samples


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


def pair_up(samples: Sequence[Sample], pairs_per_prompt: int) -> Pairing:
    """At most `pairs_per_prompt` pairs per prompt, prompts in file order, samples by index.

    Identical completions are skipped and counted; a blank completion quarantines its pair.
    """
    by_prompt: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_prompt[sample.prompt_key].append(sample)
    pairs, quarantine, identical = [], [], 0
    for group in by_prompt.values():
        group.sort(key=lambda sample: sample.sample)
        for i, j in schedule(len(group))[:pairs_per_prompt]:
            pair = SamplePair(group[i], group[j])
            if pair.a.completion == pair.b.completion:
                identical += 1
            elif not (pair.a.completion.strip() and pair.b.completion.strip()):
                quarantine.append(pair.quarantined("candidate_not_empty", "completion", "a completion is blank"))
            else:
                pairs.append(pair)
    single = sum(len(group) < 2 for group in by_prompt.values())
    return Pairing(pairs, quarantine, identical, len(by_prompt), single)


@dataclass(frozen=True)
class Origin:
    """Where the pairs of one samples artifact come from: what every record made of them says about it."""

    policy: str
    sampler: dict[str, Any]
    provenance: dict[str, Any]


def read_origin(samples: Input, source: str, license: str, run_id: str) -> Origin:
    """The policy and sampler settings that summary.json names. Raises ArtifactError if it does not name them."""
    try:
        summary = json.loads((samples.path / "summary.json").read_text(encoding="utf-8"))
        policy, sampler = str(summary["policy"]), dict(summary["sampler"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{samples.path}/summary.json: does not say policy and sampler ({type(error).__name__}: {error}). "
            "Rerun response_sampling."
        ) from error
    provenance = {"source": source, "license": license, "run_id": run_id, "data_rev": samples.id}
    return Origin(policy, sampler, provenance)


def pair_record(
    pair: SamplePair,
    judgments: list[dict[str, Any]],
    annotator: dict[str, Any],
    origin: Origin,
    *,
    n_retries: int = 0,
) -> Record:
    """The valid FMT-00 record of an annotated pair; its candidates are named "a" and "b". Raises RecordError."""
    record = make_record(
        task=simple_task([dict(message) for message in pair.a.messages], lang=UNKNOWN),
        candidates=[_candidate("a", pair.a, origin), _candidate("b", pair.b, origin)],
        judgments=judgments,
        annotator=annotator,
        quality={"parse_ok": True, "n_retries": n_retries},
        provenance=origin.provenance,
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
