"""Tiny artifacts of the simulated world for the tests of evaluation: nothing is trained, everything takes a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from components.contract.params import Choice, build
from components.evaluation.examples import Evidence
from components.evaluation.measure import contests
from components.evaluation.params import Params
from components.evaluation.scorers import Rewards, gold_scores, judge_systems
from components.evaluation.systems import System
from components.evaluation.testset import Prompt, TestSet
from components.generation.sample import Generation
from components.preference_models.network import new_network, save_network
from components.records import Comparison, make_record, prompt_key, simple_task, text_candidate, write_records
from components.simulation.world import prompts, write
from components.training.params import Compute
from tests.tiny import save_tiny_policy

COMPUTE = {"threads": 1}


def record(prompt: str, chosen: str, rejected: str, source: str = "world", outcome: str = "a") -> dict:
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
    folder.mkdir(parents=True)
    write_records(folder / "test.jsonl", records[:n_test])
    write_records(folder / "train.jsonl", records[n_test:])
    for name in ("validation.jsonl", "quarantine.jsonl"):
        (folder / name).touch()
    (folder / "summary.json").write_text("{}")
    (folder / "card.html").write_text("<p>")
    return folder


def save_world(folder: Path, n_test: int = 12) -> dict[str, list[Path]]:
    """Inputs of the component: a random candidate, reference and champion, a random reward model, a small dataset."""
    policy = save_tiny_policy(folder / "policy", seed=1)
    log = [{"step": s, "loss": 0.7 - 0.01 * s, "rewards/accuracies": 0.5 + 0.01 * s} for s in range(1, 9)]
    (policy / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    reference = save_tiny_policy(folder / "reference", seed=2)
    model, tokenizer = new_network(reference, Choice("scalar"), Compute(threads=1), seed=5)
    (folder / "reward").mkdir()
    save_network(model, tokenizer, folder / "reward")
    (folder / "reward" / "card.json").write_text("{}")
    return {
        "policy": [policy],
        "reference": [reference],
        "dataset": [save_dataset(folder / "dataset", n_test)],
        "reward_model": [folder / "reward"],
        "champion": [save_tiny_policy(folder / "champion", seed=3)],
    }


def small(**more: object) -> dict:
    """Parameters of a run of about a second."""
    sampler = {"max_new_tokens": 8}
    return {"sampler": sampler, "resamples": 200, "showcase": 3, "compute": COMPUTE, **more}


def fake_system(name: str, texts: list[str], *, shift: float = 0.0, seed: int = 0) -> System:
    """A system that answered `texts`, with random log-probabilities `shift` nats per token above the reference's."""
    rng = np.random.default_rng(seed)
    answers = [
        Generation([5] * max(1, len(t) // 4), [-1.0], "length" if i == 2 else "eos", t, i) for i, t in enumerate(texts)
    ]
    own = [rng.normal(-1, 0.3, len(answer.token_ids)).tolist() for answer in answers]
    system = System(name, f"{ord(name[0]):032x}.dir", {"a": 1}, [[1]] * len(texts), answers, own)
    if name != "reference":
        system.reference_logps = [[x - shift for x in row] for row in own]
    return system


def fake_evidence(n: int = 40, *, scored: bool = True, seed: int = 0, spoil: str = "") -> Evidence:
    """Evidence without models: a good candidate, a worse reference; `spoil` ends some of the candidate's answers."""
    rng = np.random.default_rng(seed)
    texts = list(dict.fromkeys(prompts(3 * n, seed)))[:n]
    asked = [
        Prompt(prompt_key([{"role": "user", "content": t}]), ({"role": "user", "content": t},), "world") for t in texts
    ]
    good, bad = ([write(t, rng, quality) for t in texts] for quality in (0.9, 0.4))
    good[::5] = [text + spoil for text in good[::5]]
    systems = {
        "candidate": fake_system("candidate", good, shift=0.1),
        "reference": fake_system("reference", bad, seed=1),
    }
    comparisons = [
        Comparison(p.messages, a + "!", b, 1.0, 0.0, 0.0, 1.0, "g", "r", "world", "simulated", False)
        for p, a, b in zip(asked, good, bad, strict=True)
    ]
    for system in systems.values():
        system.chosen_logps, system.rejected_logps = rng.normal(-9, 2, n).tolist(), rng.normal(-9, 2, n).tolist()
        system.chosen_lengths = system.rejected_lengths = [4] * n
    clean = [False] * n
    test = TestSet(asked, n, comparisons, [p.key for p in asked], 0, {}, comparisons[:20], clean, clean)
    if not scored:
        return Evidence(test, systems, None, None, None, [])
    rewards = Rewards(
        rng.normal(1, 1, n).tolist(),
        rng.normal(0, 1, n).tolist(),
        {"candidate": rng.normal(0.7, 1, n).tolist(), "reference": rng.normal(0, 1, n).tolist()},
    )
    gold = gold_scores(asked, systems)
    params = build(Params, {"judge": {"name": "simulated", "noise": 1.0}, "use_judge": True}, "params")
    judged = judge_systems(asked, systems, params, Path("unused"))
    return Evidence(test, systems, rewards, gold, judged, contests(systems, rewards, gold, judged))
