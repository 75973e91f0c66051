"""Small artifacts of the simulated world as evaluation reads them. No model: numbers come from the texts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import content_id
from components.contract.params import build
from components.contract.run import Input, Inputs
from components.contract.spec import load_spec
from components.evaluation.params import Params
from components.evaluation.run import gather
from components.measures.evidence import Evidence
from components.records import (
    comparisons,
    make_record,
    prompt_key,
    read_records,
    simple_task,
    text_candidate,
    write_lines,
    write_records,
)
from components.simulation.world import prompts, write

SAMPLER = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": 0, "batch_size": 64}
MODEL = "a" * 32 + ".dir"
"""The content id of the reward model that scores."""
Answers = Mapping[str, str]
"""Prompt -> answer."""


def number(*what: object, low: float = -2.0, high: float = 2.0) -> float:
    """A number that depends on nothing but its arguments."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return low + (high - low) * int.from_bytes(digest[:6], "big") / 2**48


def record(prompt: str, chosen: str, rejected: str, source: str = "world", outcome: str = "a") -> dict[str, Any]:
    """One comparison; `a` is the chosen side."""
    return make_record(
        task=simple_task(prompt),
        candidates=[text_candidate("a", chosen), text_candidate("b", rejected)],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": outcome, "shown_order": ["a", "b"]}],
        annotator={"id": "tester", "kind": "simulated", "revision": "1", "instructions_rev": "1"},
        provenance={"source": source, "license": "CC0-1.0"},
    )


def save_dataset(folder: Path, n_test: int = 12, n_train: int = 20) -> Path:
    """A dataset artifact: good answers against bad ones, one tie in the test split, prompts in one split only."""
    texts = list(dict.fromkeys(prompts(4 * (n_test + n_train), 0)))[: n_test + n_train]
    rng = np.random.default_rng(0)
    records = []
    for i, text in enumerate(texts):
        good, bad = write(text, rng, 1.0), write(text, rng, 0.1)
        outcome = "tie" if i == 0 or good == bad else "a"
        records.append(record(text, good, bad, source=("north", "south")[i % 2], outcome=outcome))
    return write_dataset(folder, records[:n_test], records[n_test:])


def write_dataset(folder: Path, test: Sequence[dict[str, Any]], train: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "test.jsonl", test)
    write_records(folder / "train.jsonl", train)
    for name in ("validation.jsonl", "quarantine.jsonl"):
        (folder / name).touch()
    (folder / "summary.json").write_text("{}")
    (folder / "card.html").write_text("<p>")
    return folder


def asked_of(dataset: Path) -> list[str]:
    """The test prompts of a dataset artifact, in the order of the file."""
    texts = [r["task"]["messages"][0]["parts"][0]["text"] for r in read_records(dataset / "test.jsonl")]
    return list(dict.fromkeys(texts))


def save_policy(folder: Path, name: str) -> Path:
    """What evaluation reads of a policy, and its files by name."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"name": name}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text(name)
    log = [{"step": s, "loss": 0.7 - 0.01 * s, "rewards/accuracies": 0.5 + 0.01 * s} for s in range(1, 9)]
    write_lines(folder / "training_log.jsonl", log)
    return folder


def save_answers(folder: Path, policy: str, answers: Answers, **summary: object) -> Path:
    """A samples artifact with one sample per prompt."""
    rows = []
    for i, (prompt, text) in enumerate(answers.items()):
        messages = [{"role": "user", "content": prompt}]
        ids = [int(number(word, low=3, high=300)) for word in text.split()] + [2]
        logps = [round(number(policy, text, k, low=-3, high=0), 6) for k in range(len(ids))]
        row = {"prompt_key": prompt_key(messages), "messages": messages, "sample": 0, "completion": text}
        row |= {"token_ids": ids, "logprobs": logps, "finish": "length" if i == 2 else "eos", "seed": i}
        rows.append(row)
    folder.mkdir(parents=True)
    write_lines(folder / "samples.jsonl", rows)
    facts = {"policy": policy, "vocabulary": "v" * 64, "sampler": SAMPLER, **summary}
    (folder / "summary.json").write_text(json.dumps(facts))
    return folder


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def _save(folder: Path, file: str, rows: Sequence[dict[str, Any]], summary: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True)
    write_lines(folder / file, rows)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _comparison(i: int, record_id: str, **said: object) -> dict[str, Any]:
    row = {"of": "comparison", "index": i, "record_id": record_id, "p": None, "chosen": None, "rejected": None}
    return row | {"chosen_tokens": None, "rejected_tokens": None, "clean": True} | said


def save_reward_scores(
    folder: Path, dataset: Path, systems: Mapping[str, Path], *, model: str = MODEL, scored: bool = True
) -> Path:
    """Scores of a reward model: a number per text; with `scored` false it only compares."""

    def score(text: str) -> float:
        return number("reward", text)

    def p(a: str, b: str) -> float:
        return 1 / (1 + math.exp(score(b) - score(a)))

    ids = {name: content_id(path) for name, path in systems.items()}
    rows: list[dict[str, Any]] = []
    for name, path in systems.items():
        for row in _rows(path):
            value = score(row["completion"]) if scored else None
            key = row["prompt_key"]
            rows.append({"of": "sample", "samples": ids[name], "prompt_key": key, "sample": 0, "score": value})
    texts = {name: {row["prompt_key"]: row["completion"] for row in _rows(path)} for name, path in systems.items()}
    for opponent in (name for name in systems if name != "candidate"):
        for key, text in texts["candidate"].items():
            pair = {"a": ids["candidate"], "b": ids[opponent], "prompt_key": key}
            rows.append({"of": "pair", **pair, "p": p(text, texts[opponent][key])})
    for i, item in enumerate(comparisons(read_records(dataset / "test.jsonl")).items):
        both = {"chosen": score(item.chosen), "rejected": score(item.rejected)} if scored else {}
        rows.append(_comparison(i, item.record_id, p=p(item.chosen, item.rejected), **both))
    witness = {"kind": "preference_model", "name": "scalar", "id": model}
    return _save(folder, "scores.jsonl", rows, _summary(witness, dataset, ids))


def _summary(witness: Mapping[str, str], dataset: Path, ids: Mapping[str, str]) -> dict[str, Any]:
    against = [oid for name, oid in ids.items() if name != "candidate"]
    about = {"dataset": content_id(dataset), "split": "test", "samples": list(ids.values()), "against": against}
    return {"witness": witness, **about, "counts": {}}


def save_likelihoods(folder: Path, dataset: Path, policy: str, answers: Sequence[Path] = ()) -> Path:
    """Log-probabilities under a policy, of the comparisons and of these answers."""
    rows: list[dict[str, Any]] = []
    for path in answers:
        for row in _rows(path):
            count, oid = len(row["token_ids"]), content_id(path)
            logps = [number(policy, row["completion"], k, low=-3, high=0) for k in range(count)]
            rows.append({"of": "sample", "samples": oid, "prompt_key": row["prompt_key"], "sample": 0, "logps": logps})
    for i, item in enumerate(comparisons(read_records(dataset / "test.jsonl")).items):
        sides = {"chosen": number(policy, item.chosen, low=-20, high=-1), "chosen_tokens": len(item.chosen.split()) + 1}
        sides |= {"rejected": number(policy, item.rejected, low=-20, high=-1)}
        sides |= {"rejected_tokens": len(item.rejected.split()) + 1}
        rows.append(_comparison(i, item.record_id, **sides, clean=i % 4 != 1))
    witness = {"kind": "policy", "name": "policy", "id": policy}
    ids = {str(i): content_id(path) for i, path in enumerate(answers)}
    return _save(folder, "scores.jsonl", rows, _summary(witness, dataset, ids))


def save_verdicts(folder: Path, candidate: Path, opponent: Path, noise: float = 1.0) -> Path:
    """Verdicts of a judge with a number for every text, blurred by the order in which two are shown."""

    def asked(first: str, second: str) -> float:
        return number("judge", first) - number("judge", second) + noise * number("order", first, second)

    theirs = {row["prompt_key"]: row["completion"] for row in _rows(opponent)}
    ids = {"a": content_id(candidate), "b": content_id(opponent)}
    rows = []
    for row in _rows(candidate):
        a, b = row["completion"], theirs[row["prompt_key"]]
        orders = {"first": "a" if asked(a, b) > 0 else "b", "second": "b" if asked(b, a) > 0 else "a"}
        sides = {side: {"samples": oid, "sample": 0} for side, oid in ids.items()}
        rows.append({"prompt_key": row["prompt_key"], **sides, "identical": a == b, **orders})
        rows[-1] |= {"reason_first": "", "reason_second": "", "text_first": "", "text_second": ""}
        rows[-1] |= {"n_retries": 0, "served_models": []}
    summary = {"judge": {"id": "tester"}, "samples": ids["a"], "against": ids["b"]}
    return _save(folder, "verdicts.jsonl", rows, summary)


@dataclass
class World:
    """Inputs of the component by port: a good candidate, a worse reference, a champion between them."""

    folder: Path
    n_test: int = 12
    spoil: str = ""
    """what some of the candidate's answers end with"""
    same: bool = False
    """the reference is the candidate's policy"""
    ports: dict[str, list[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dataset = save_dataset(self.folder / "dataset", self.n_test)
        self.ports = {"dataset": [dataset], "policy": [save_policy(self.folder / "policy", "candidate")]}
        ids = {"candidate": content_id(self.ports["policy"][0]), "reference": "b" * 32, "champion": "c" * 32}
        if self.same:
            ids["reference"] = ids["candidate"]
        answers = self.answers(dataset)
        if self.same:
            answers["reference"] = answers["candidate"]
        systems = {name: save_answers(self.folder / name, ids[name], answers[name]) for name in ids}
        self.ports |= {name: [path] for name, path in systems.items()}
        self.ports["scores"] = [save_reward_scores(self.folder / "reward_scores", dataset, systems)]
        for name, policy in ids.items():
            about = [systems["candidate"], systems["champion"]] if name == "reference" else []
            self.ports["scores"].append(save_likelihoods(self.folder / f"{name}_likelihood", dataset, policy, about))
        self.ports["verdicts"] = [
            save_verdicts(self.folder / f"vs_{name}", systems["candidate"], systems[name])
            for name in ("reference", "champion")
        ]

    def answers(self, dataset: Path) -> dict[str, dict[str, str]]:
        rng, asked = np.random.default_rng(7), asked_of(dataset)
        found = {}
        for name, quality in (("candidate", 0.9), ("reference", 0.4), ("champion", 0.7)):
            texts = [write(prompt, rng, quality) for prompt in asked]
            if name == "candidate":
                texts[::5] = [text + self.spoil for text in texts[::5]]
            found[name] = dict(zip(asked, texts, strict=True))
        return found

    def only(self, *ports: str, **more: list[Path]) -> dict[str, list[Path]]:
        return {port: self.ports[port] for port in ports} | more


def evidence(ports: Mapping[str, Sequence[Path]], **params: object) -> Evidence:
    """What the component gathers from these inputs."""
    spec = load_spec("evaluation")
    items = {
        port: [Input(port, spec.inputs[port].type, path, content_id(path)) for path in paths]
        for port, paths in ports.items()
    }
    return gather(build(Params, small(**params), "params"), Inputs(items, spec))


def small(**more: object) -> dict[str, Any]:
    """Parameters of a run of about a second."""
    return {"resamples": 200, "showcase": 3, **more}
