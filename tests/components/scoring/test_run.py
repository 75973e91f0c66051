"""What a witness is asked and what stands in scores.jsonl: of answers, of pairs of them, and of comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from components.artifacts import content_id
from components.contract import Choice, Record, dump, run_component
from components.errors import ArtifactError, ParamsError, WiringError
from components.preference_models import PREFERENCE_MODELS, Text, TextPair
from components.preference_models.model import load_preference_model, write_card
from components.preference_models.network import new_network, save_network
from components.records import comparisons, prompt_key, read_lines, read_records, write_lines
from components.sequences import encode_pair, encode_prompt
from components.training.params import Compute
from tests.components.reward_modeling.helpers import record, write_dataset
from tests.tiny import save_tiny_policy, tiny_model, tiny_tokenizer

PROMPTS = ["the quick fox", "a dog", "please write"]
Lines = list[dict[str, Any]]


def write_answers(folder: Path, texts: dict[str, list[str]], *, finish: str = "eos", **sampler: float) -> Path:
    """A samples artifact in the tokens of the tiny tokenizer."""
    tokenizer, rows = tiny_tokenizer(), []
    for prompt, completions in texts.items():
        messages = [{"role": "user", "content": prompt}]
        for k, text in enumerate(completions):
            ids = [*tokenizer(text)["input_ids"], *([tokenizer.eos_token_id] if finish == "eos" else [])]
            place = {"prompt_key": prompt_key(messages), "messages": messages, "sample": k}
            drawn = {"token_ids": ids, "logprobs": [-1.0] * len(ids), "finish": finish, "seed": k}
            rows.append({**place, "completion": text, **drawn})
    folder.mkdir(parents=True)
    write_lines(folder / "samples.jsonl", rows)
    summary = {"policy": folder.name, "sampler": {"temperature": 1.0, "top_p": 1.0, **sampler}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two preference models, a policy, answers of two systems, and comparisons with a tie and a repeated text."""
    folder = tmp_path_factory.mktemp("world")
    policy = save_tiny_policy(folder / "policy", initializer_range=0.05)
    found = {"policy": policy}
    for name in ("scalar", "gpm"):
        kind: Choice = PREFERENCE_MODELS.choose("kind", {"name": name})
        (folder / name).mkdir()
        save_network(*new_network(policy, kind, Compute(threads=1), seed=1), folder / name)
        write_card(folder / name, {"kind": dump(kind)})
        found[name] = folder / name
    own = {prompt: [f"answer {i}", "a brown fox"] for i, prompt in enumerate(PROMPTS)}
    found["own"] = write_answers(folder / "own", own)
    found["other"] = write_answers(folder / "other", {PROMPTS[0]: ["answer 0"], PROMPTS[1]: ["lazy", "dog"]})
    test = [
        record("the quick fox", "a brown fox", "answer 0"),
        record("a dog", "lazy", "lazy dog", outcome="tie"),
        record("a dog", "lazy", "quick"),
    ]
    found["dataset"] = write_dataset(folder / "dataset", test[:1], [], test)
    return found


def score(folder: Path, inputs: dict[str, list[Path]], name: str = "scores", **params: Any) -> tuple[Record, Lines]:
    settings = {"compute": {"threads": 1}, **params}
    made = run_component("scoring", settings, inputs, {"scores": folder / name})
    return made, list(read_lines(folder / name / "scores.jsonl"))


def of(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line["of"] == kind]


def texts_of(samples: Path) -> list[Text]:
    return [Text(row["messages"], row["completion"]) for row in read_lines(samples / "samples.jsonl")]


@pytest.mark.parametrize("name", ["scalar", "gpm"])
def test_a_model_says_of_everything_what_it_says_when_asked(tmp_path: Path, world: dict[str, Path], name: str) -> None:
    inputs = {
        "model": [world[name]],
        "samples": [world["own"], world["other"]],
        "against": [world["other"]],
        "dataset": [world["dataset"]],
    }
    made, lines = score(tmp_path, inputs)
    asked = load_preference_model(world[name], Compute(threads=1))
    own, other = content_id(world["own"]), content_id(world["other"])

    for samples, oid in ((world["own"], own), (world["other"], other)):
        texts = texts_of(samples)
        said = [line for line in of(lines, "sample") if line["samples"] == oid]
        assert [line["score"] for line in said] == pytest.approx(asked.score(texts) or [None] * len(texts), abs=1e-6)
        assert {line["logps"] for line in said} == {None}

    first = {text.messages[0]["content"]: text.completion for text in reversed(texts_of(world["own"]))}
    opposite = {text.messages[0]["content"]: text.completion for text in reversed(texts_of(world["other"]))}
    pairs = [TextPair([{"role": "user", "content": p}], first[p], opposite[p]) for p in PROMPTS[:2]]
    said = [line for line in of(lines, "pair") if (line["a"], line["b"]) == (own, other)]
    assert [line["prompt_key"] for line in said] == [prompt_key(list(pair.messages)) for pair in pairs]
    assert [line["p"] for line in said] == pytest.approx(asked.compare(pairs), abs=1e-6)
    assert said[0]["p"] == 0.5, "the same text"
    assert said[1]["p"] != 0.5
    assert [line["p"] for line in of(lines, "pair") if line["a"] == line["b"] == other] == [0.5, 0.5]

    items = comparisons(read_records(world["dataset"] / "test.jsonl")).items
    p = asked.compare([TextPair(item.messages, item.chosen, item.rejected) for item in items])
    said = of(lines, "comparison")
    assert [line["p"] for line in said] == pytest.approx(p, abs=1e-6)
    assert [line["index"] for line in said] == [0, 1, 2]
    assert [line["record_id"] for line in said] == [item.record_id for item in items]
    assert all(line["clean"] and line["chosen_tokens"] is None for line in said)
    assert [line["chosen"] is None for line in said] == [name == "gpm"] * 3
    assert made.metrics == {
        "samples": 9,
        "samples_unanswered": 9 if name == "gpm" else 0,
        "pairs": 4,
        "pairs_without_partner": 1,
        "comparisons": 3,
        "comparisons_unclean": 0,
    }


def test_equal_texts_of_one_prompt_get_exactly_equal_scores(tmp_path: Path, world: dict[str, Path]) -> None:
    inputs = {"model": [world["scalar"]], "samples": [world["own"], world["other"]], "dataset": [world["dataset"]]}
    _, lines = score(tmp_path, inputs, micro_batch_tokens=40)
    said = [(line["prompt_key"], line["score"]) for line in of(lines, "sample")]
    key = prompt_key([{"role": "user", "content": PROMPTS[0]}])
    scores = dict(zip([text.completion for text in texts_of(world["own"])], [s for _, s in said], strict=False))
    compared = of(lines, "comparison")
    assert compared[1]["chosen"] == compared[2]["chosen"]
    assert {compared[0]["chosen"], compared[0]["rejected"]} <= {s for k, s in said if k == key}
    assert len(set(scores.values())) > 1


def test_the_summary_says_who_was_asked_about_what(tmp_path: Path, world: dict[str, Path]) -> None:
    """An artifact that is given twice is scored once."""
    inputs = {"model": [world["gpm"]], "samples": [world["own"], world["own"]], "dataset": [world["dataset"]]}
    made, lines = score(tmp_path, inputs)
    assert json.loads((tmp_path / "scores" / "summary.json").read_text()) == {
        "witness": {"kind": "preference_model", "name": "gpm", "id": content_id(world["gpm"])},
        "dataset": content_id(world["dataset"]),
        "split": "test",
        "samples": [content_id(world["own"])],
        "against": [],
        "counts": made.metrics,
    }
    assert len(of(lines, "sample")) == 6


def logps_of(prompt: Sequence[int], completion: Sequence[int], temperature: float = 1.0) -> list[float]:
    """Log-probabilities of completion tokens by definition: the whole row, softmax, gather."""
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logps = (tiny_model(initializer_range=0.05)(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    return [logps[len(prompt) + i - 1, token].item() for i, token in enumerate(completion)]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_policy_says_how_likely_each_token_was_at_the_temperature_of_the_sampler(
    tmp_path: Path, world: dict[str, Path], temperature: float
) -> None:
    answers = write_answers(tmp_path / "answers", {p: ["a brown fox", "dog"] for p in PROMPTS}, temperature=temperature)
    made, lines = score(tmp_path, {"policy": [world["policy"]], "samples": [answers]})
    rows = list(read_lines(answers / "samples.jsonl"))
    assert len(lines) == len(rows) == 6
    for line, row in zip(lines, rows, strict=True):
        prompt = encode_prompt(tiny_tokenizer(), row["messages"])
        assert line["logps"] == pytest.approx(logps_of(prompt, row["token_ids"], temperature), abs=1e-4)
        assert (line["score"], line["sample"]) == (None, row["sample"])
    assert made.metrics["samples_unanswered"] == 0
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["witness"] == {"kind": "policy", "name": "policy", "id": content_id(world["policy"])}
    assert summary["dataset"] is None


def test_a_policy_gives_sums_and_token_counts_of_comparisons(tmp_path: Path, world: dict[str, Path]) -> None:
    made, lines = score(tmp_path, {"policy": [world["policy"]], "dataset": [world["dataset"]]})
    items = comparisons(read_records(world["dataset"] / "test.jsonl")).items
    for line, item in zip(lines, items, strict=True):
        for side in ("chosen", "rejected"):
            encoded = encode_pair(tiny_tokenizer(), item.messages, getattr(item, side))
            assert line[side] == pytest.approx(sum(logps_of(encoded.prompt_ids, encoded.completion_ids)), abs=1e-3)
            assert line[f"{side}_tokens"] == len(encoded.completion_ids)
        assert (line["p"], line["clean"]) == (None, True)
    assert (made.metrics["comparisons"], made.metrics["comparisons_unclean"]) == (3, 0)


@pytest.mark.parametrize(
    ("sampler", "more"),
    [({"temperature": 0.0}, {}), ({"top_p": 0.9}, {}), ({}, {"token_ids": [70, 71]}), ({}, {"finish": "eos"})],
    ids=["greedy", "nucleus", "another vocabulary", "another end"],
)
def test_where_a_likelihood_has_no_meaning_there_is_none(
    tmp_path: Path, world: dict[str, Path], sampler: dict[str, float], more: dict[str, Any]
) -> None:
    answers = write_answers(tmp_path / "answers", {PROMPTS[0]: ["fox", "dog"]}, finish="length", **sampler)
    rows = list(read_lines(answers / "samples.jsonl"))
    write_lines(answers / "samples.jsonl", [rows[0], rows[1] | more])
    made, lines = score(tmp_path, {"policy": [world["policy"]], "samples": [answers]})
    assert [line["logps"] for line in lines] == [None, None]
    assert made.metrics["samples_unanswered"] == 2


def test_another_split_may_be_asked_for(tmp_path: Path, world: dict[str, Path]) -> None:
    _, lines = score(tmp_path, {"model": [world["scalar"]], "dataset": [world["dataset"]]}, split="train")
    assert len(lines) == 1


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, world: dict[str, Path]) -> None:
    inputs = {"model": [world["scalar"]], "samples": [world["own"]], "dataset": [world["dataset"]]}
    first, _ = score(tmp_path, inputs, "first")
    second, _ = score(tmp_path, inputs, "second")
    assert first.outputs == second.outputs


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (["samples"], "there is one witness"),
        (["model", "policy", "samples"], "there is one witness"),
        (["model"], "nothing to score"),
        (["policy", "samples", "against"], "a preference model compares"),
        (["model", "dataset", "against"], "a preference model compares"),
    ],
)
def test_wiring_without_a_meaning_is_refused(
    tmp_path: Path, world: dict[str, Path], ports: list[str], message: str
) -> None:
    places = {"model": "scalar", "samples": "own", "against": "other"}
    with pytest.raises(WiringError, match=message):
        score(tmp_path, {port: [world[places.get(port, port)]] for port in ports})


def test_samples_that_do_not_say_how_they_were_drawn_are_refused(tmp_path: Path, world: dict[str, Path]) -> None:
    answers = write_answers(tmp_path / "answers", {PROMPTS[0]: ["fox"]})
    (answers / "summary.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not say how it was sampled"):
        score(tmp_path, {"policy": [world["policy"]], "samples": [answers]})


def test_it_runs_in_one_process(tmp_path: Path, world: dict[str, Path]) -> None:
    with pytest.raises(ParamsError, match="one process"):
        score(tmp_path, {"model": [world["scalar"]], "samples": [world["own"]]}, compute={"processes": 2})
