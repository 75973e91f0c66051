"""response_sampling: which prompts are sampled, what stands in the artifact, what is counted."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from components.contract import Record, run_component
from components.errors import ParamsError, RecordError, WiringError
from components.records import Groups, make_record, prompt_key, simple_task, text_candidate, write_records
from tests.tiny import save_tiny_policy, tiny_tokenizer

TEXTS = [f"please write a short answer about fox {i}" for i in range(30)]
LONG = "dog " * 600


def feedback(folder: Path, texts: list[str]) -> Path:
    """A feedback artifact with two records (two annotators) per prompt."""
    folder.mkdir(parents=True)
    records = [
        make_record(
            task=simple_task(text),
            candidates=[text_candidate("a", "one"), text_candidate("b", "two")],
            judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]}],
            annotator={"id": person, "kind": "human"},
            provenance={"source": "test"},
        )
        for text in texts
        for person in ("p1", "p2")
    ]
    write_records(folder / "records.jsonl", records)
    (folder / "quarantine.jsonl").write_text("")
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("policy") / "policy")


def run(
    policy: Path, prompts: Path, out: Path, port: str = "prompts", **params: Any
) -> tuple[list[dict[str, Any]], dict[str, Any], Record]:
    defaults = {"sampler": {"max_new_tokens": 8}, "compute": {"threads": 1}}
    record = run_component(
        "response_sampling", {**defaults, **params}, {"policy": [policy], port: [prompts]}, {"samples": out}
    )
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, json.loads((out / "summary.json").read_text(encoding="utf-8")), record


def test_every_prompt_that_is_not_held_out_is_sampled_once(policy: Path, tmp_path: Path) -> None:
    """Two records of a prompt are one prompt; held-out prompts are not sampled, and counted."""
    rows, summary, record = run(policy, feedback(tmp_path / "f", TEXTS), tmp_path / "s", n_prompts=0, held_out=0.4)
    shares = {prompt_key(m): Groups([]).share(m) for m in ([{"role": "user", "content": text}] for text in TEXTS)}
    kept = {key for key, share in shares.items() if share >= 0.4}
    assert 0 < len(kept) < 30
    assert {row["prompt_key"] for row in rows} == kept
    assert sorted(row["sample"] for row in rows) == [0] * len(kept) + [1] * len(kept)
    assert summary["n_samples"] == 2 * len(kept) == record.metrics["n_samples"]
    assert summary["excluded_held_out"] == 30 - len(kept)


def test_rows_hold_what_was_sampled(policy: Path, tmp_path: Path) -> None:
    """Token ids decode to the completion, every token has a log-prob, `finish` tells the reason."""
    rows, summary, _ = run(policy, feedback(tmp_path / "f", TEXTS[:8]), tmp_path / "s", held_out=0.0)
    tokenizer = tiny_tokenizer()
    for row in rows:
        assert row["prompt_key"] == prompt_key(row["messages"])
        ended = row["token_ids"][-1] == tokenizer.eos_token_id
        assert row["finish"] == ("eos" if ended else "length")
        assert tokenizer.decode(row["token_ids"][:-1] if ended else row["token_ids"]) == row["completion"]
        assert len(row["logprobs"]) == len(row["token_ids"])
        assert all(logprob <= 0 for logprob in row["logprobs"])
    assert summary["truncated"] == sum(row["finish"] == "length" for row in rows)
    assert summary["eos_rate"] == pytest.approx(1 - summary["truncated"] / 16, abs=1e-4)
    assert summary["sampler"]["max_new_tokens"] == 8
    assert summary["policy"].endswith(".dir")


def test_same_params_same_bytes_and_a_subset_changes_no_sample(policy: Path, tmp_path: Path) -> None:
    """Reruns give the same content id; a smaller n_prompts takes a subset of the prompts, sampled alike."""
    prompts = feedback(tmp_path / "f", TEXTS)
    rows, _, record = run(policy, prompts, tmp_path / "a", n_prompts=12)
    assert run(policy, prompts, tmp_path / "b", n_prompts=12)[2].outputs == record.outputs
    fewer, summary, _ = run(policy, prompts, tmp_path / "c", n_prompts=5)
    assert summary["n_prompts"] == 5
    full = {(row["prompt_key"], row["sample"]): row["token_ids"] for row in rows}
    assert all(full[row["prompt_key"], row["sample"]] == row["token_ids"] for row in fewer)
    other, _, _ = run(policy, prompts, tmp_path / "d", n_prompts=5, seed=1)
    assert {row["prompt_key"] for row in other} != {row["prompt_key"] for row in fewer}


def test_prompts_that_leave_no_room_are_counted(policy: Path, tmp_path: Path) -> None:
    """A prompt longer than the context minus max_new_tokens is not cut: it is left out and counted."""
    prompts = feedback(tmp_path / "f", [*TEXTS[:4], LONG])
    rows, summary, _ = run(policy, prompts, tmp_path / "s", held_out=0.0)
    assert summary["excluded_too_long"] == 1
    assert len(rows) == 8


def test_nothing_left_is_an_error(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no prompt is left"):
        run(policy, feedback(tmp_path / "f", [LONG]), tmp_path / "s", held_out=0.0)


@pytest.mark.parametrize("bad", [{"n_prompts": -1}, {"samples_per_prompt": 0}, {"held_out": 1.0}])
def test_impossible_params_are_errors(bad: dict[str, Any], policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=next(iter(bad))):
        run(policy, tmp_path, tmp_path / "s", **bad)


def dataset(folder: Path, texts: list[str]) -> Path:
    """A dataset artifact whose test split holds these prompts (two records each); train holds another one."""
    made = feedback(folder / "made", texts) / "records.jsonl"
    (folder / "test.jsonl").write_bytes(made.read_bytes())
    (folder / "train.jsonl").write_bytes(
        (feedback(folder / "other", ["another prompt"]) / "records.jsonl").read_bytes()
    )
    for name in ("validation.jsonl", "quarantine.jsonl"):
        (folder / name).write_text("")
    for name in ("summary.json", "card.html"):
        (folder / name).write_text("{}")
    return folder


def test_the_prompts_of_a_split_are_answered_in_a_seeded_order(policy: Path, tmp_path: Path) -> None:
    """By sha256(seed + newline + key), whatever held_out says; more prompts keep the ones of before."""
    data = dataset(tmp_path / "d", TEXTS)
    rows, summary, _ = run(policy, data, tmp_path / "s", "dataset", n_prompts=0, samples_per_prompt=1, held_out=0.9)
    keys = [prompt_key([{"role": "user", "content": text}]) for text in TEXTS]
    expected = sorted(keys, key=lambda key: hashlib.sha256(f"0\n{key}".encode()).hexdigest())
    assert [row["prompt_key"] for row in rows] == expected
    assert summary["excluded_held_out"] == 0
    few, _, _ = run(policy, data, tmp_path / "few", "dataset", n_prompts=5, samples_per_prompt=1)
    assert [row["prompt_key"] for row in few] == expected[:5]
    train, _, _ = run(policy, data, tmp_path / "t", "dataset", n_prompts=0, samples_per_prompt=1, split="train")
    assert [row["messages"][-1]["content"] for row in train] == ["another prompt"]


def test_an_answer_does_not_depend_on_the_port_its_prompt_came_by(policy: Path, tmp_path: Path) -> None:
    """The key of the prompt, the sample's number and the sampler's seed fix it."""
    one, _, _ = run(policy, feedback(tmp_path / "f", TEXTS[:6]), tmp_path / "a", held_out=0.0, n_prompts=0)
    other, _, _ = run(policy, dataset(tmp_path / "d", TEXTS[:6]), tmp_path / "b", "dataset", n_prompts=0)
    by_key = {(row["prompt_key"], row["sample"]): row for row in one}
    assert {key: row["token_ids"] for key, row in by_key.items()} == {
        (row["prompt_key"], row["sample"]): row["token_ids"] for row in other
    }
    assert [row["prompt_key"] for row in one] != [row["prompt_key"] for row in other]


def test_prompts_come_by_one_port(policy: Path, tmp_path: Path) -> None:
    ports = {"policy": [policy], "prompts": [feedback(tmp_path / "f", TEXTS[:2])]}
    data = dataset(tmp_path / "d", TEXTS[:2])
    with pytest.raises(WiringError, match=r"either prompts or dataset \(got both"):
        run_component("response_sampling", {}, {**ports, "dataset": [data]}, {"samples": tmp_path / "s"})
    with pytest.raises(WiringError, match="got none"):
        run_component("response_sampling", {}, {"policy": [policy]}, {"samples": tmp_path / "s"})


def test_the_summary_says_whose_tokens_these_are(policy: Path, tmp_path: Path) -> None:
    """One vocabulary, one hash: answers of two policies can be scored by each other if it is the same."""
    _, summary, _ = run(policy, feedback(tmp_path / "f", TEXTS[:2]), tmp_path / "a", held_out=0.0)
    other = save_tiny_policy(tmp_path / "other", seed=9)
    _, same, _ = run(other, feedback(tmp_path / "g", TEXTS[:2]), tmp_path / "b", held_out=0.0)
    assert summary["vocabulary"] == same["vocabulary"]
    assert summary["policy"] != same["policy"]
    tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    a, b = sorted(words, key=words.get)[10:12]
    words[a], words[b] = words[b], words[a]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    _, swapped, _ = run(other, feedback(tmp_path / "h", TEXTS[:2]), tmp_path / "c", held_out=0.0)
    assert swapped["vocabulary"] != summary["vocabulary"]
