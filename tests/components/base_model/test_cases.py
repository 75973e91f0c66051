"""Models that went wrong elsewhere: one test for each description in the folder of cases, run by its name."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from components.contract import Record
from components.errors import ArtifactError, ParamsError
from components.feedback_curation.gate import gate
from components.generation.sample import stop_tokens
from components.model_files.positions import positions, prompt_limit, row_limit
from components.records import make_record, simple_task, text_candidate
from components.sequences.example import Example, Sequence
from components.sequences.tokenize import encode_pair, encode_prompt
from components.training.logprobs import completion_logps, sequence_logprobs
from components.training.lora_targets import check_targets
from components.training.params import Compute, Lora
from components.training.runtime import load_policy
from components.training.scorer import share_prompts
from flows.base import check_base, describe_base
from flows.catalogue import flow_graph
from tests.components.base_model.brought import bring

Brought = tuple[Path, Record]
ACCEPTED = (
    "plain",
    "tied",
    "sliding_window",
    "no_4d_mask",
    "learned_positions",
    "rope_by_batch",
    "turn_end_is_not_eos",
    "ignores_system",
    "loses_characters",
)
REFUSED = {
    "weights_are_a_pointer": r"model.safetensors: is a Git LFS pointer.*git lfs pull",
    "not_a_number": r"model.layers.0.mlp.up_proj.weight holds 1 values that are not finite numbers \(got nan\)",
    "adapter_beside": r"an adapter lies beside the model \(got adapter_config.json, adapter_model.*\). Merge it",
    "encoder": r"reads what comes after a token .* \(got BertLMHeadModel.*choose a causal language model",
    "no_generation_prompt": r"no generation prompt \(got 'assistant: ' before the answer only\).*add_generation_prompt",
}


@pytest.fixture(scope="session")
def made(cases_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from the name of a case to the folder of its model."""
    spec = importlib.util.spec_from_file_location("make_model", cases_dir / "make_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path_factory.mktemp("models")

    def make(name: str) -> Path:
        if not (root / name).exists():
            module.main(cases_dir / "models" / f"{name}.json", root / name)
        return root / name

    return make


@pytest.fixture(scope="session")
def policy(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from the name of a case to (policy artifact, record)."""
    root, known = tmp_path_factory.mktemp("policies"), {}

    def get(name: str) -> Brought:
        if name not in known:
            known[name] = (root / name, bring(made(name), root / name))
        return known[name]

    return get


def rows(cases_dir: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cases_dir / name).read_text(encoding="utf-8").splitlines()]


def test_every_case_has_a_test(cases_dir: Path) -> None:
    names = {path.stem for path in (cases_dir / "models").glob("*.json")}
    assert names == {*ACCEPTED, *REFUSED, "reads_the_clock"}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line_with_the_remedy(name: str, made: Any, tmp_path: Path) -> None:
    """The message names the folder that was given, says what is wrong, and what to do."""
    with pytest.raises(ArtifactError, match=REFUSED[name]) as caught:
        bring(made(name), tmp_path / "policy")
    message = str(caught.value)
    assert message.startswith(str(made(name)))
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize("name", ACCEPTED)
def test_is_accepted_and_counted(name: str, policy: Any) -> None:
    metrics = policy(name)[1].metrics
    assert (metrics["chat_template"], metrics["embedding_rows"]) == (1, 340)


def test_reads_the_clock(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, until the day is a parameter: then the rendering is the same on any day."""
    with pytest.raises(ParamsError, match=r"writes the date of the day \(got strftime_now\).*Set base_model.date"):
        bring(made("reads_the_clock"), tmp_path / "policy")
    bring(made("reads_the_clock"), tmp_path / "policy", date="2025-01-31")
    _, tokenizer = load_policy(tmp_path / "policy", Compute(threads=1))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text.startswith("Today is 31 Jan 2025 00:00:00.\n<|im_start|>user")


def test_turn_end_is_not_eos(policy: Any, cases_dir: Path) -> None:
    """A completion is the record's text and the token that ends a turn; generation stops there, and at the old EOS."""
    folder, record = policy("turn_end_is_not_eos")
    model, tokenizer = load_policy(folder, Compute(threads=1))
    assert (record.metrics["eos_token"], record.metrics["eos_token_was"]) == ("<|im_end|>", "<|endoftext|>")
    assert stop_tokens(model, tokenizer) == {0, 2}
    for row in rows(cases_dir, "pairs.jsonl")[:5]:
        encoded = encode_pair(tokenizer, [{"role": "user", "content": row["prompt"]}], row["chosen"])
        assert tokenizer.decode(encoded.completion_ids) == row["chosen"] + "<|im_end|>"
        assert (encoded.prefix_ok, encoded.eos_count) == (True, 1)


def gated(policy: Any, name: str, pairs: list[dict[str, Any]]) -> Counter[str]:
    """Rules by which the gate of curation quarantines pairs, with the tokenizer of a case."""
    _, tokenizer = load_policy(policy(name)[0], Compute(threads=1))
    records = [
        make_record(
            task=task_of(row["prompt"]),
            candidates=[text_candidate("a", text_of(row["chosen"])), text_candidate("b", text_of(row["rejected"]))],
            judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]}],
            annotator={"id": "t", "kind": "human"},
            provenance={"source": "test"},
        )
        for row in pairs
    ]
    return Counter(row["rule"] for row in gate({"train": records}, tokenizer, 1024).quarantine)


def task_of(prompt: Any) -> dict[str, Any]:
    if isinstance(prompt, str):
        return simple_task(prompt)
    system, user = prompt
    return {**simple_task(user["content"]), "system": system["content"]}


def text_of(answer: Any) -> str:
    return answer if isinstance(answer, str) else answer[-1]["content"]


def test_eos_as_text(policy: Any, cases_dir: Path) -> None:
    """No token behind the spelled EOS is lost; it is text, under both of the tokens that end something."""
    pairs = rows(cases_dir, "eos_as_text.jsonl")
    for name in ("turn_end_is_not_eos", "plain"):
        _, tokenizer = load_policy(policy(name)[0], Compute(threads=1))
        for row in pairs:
            encoded = encode_pair(tokenizer, [{"role": "user", "content": row["prompt"]}], row["chosen"])
            assert tokenizer.decode(encoded.completion_ids) == row["chosen"] + "<|im_end|>"
            assert (encoded.eos_count, encoded.spelled) == (1, 1)
            assert not {0, 1, 2} & set(encoded.completion_ids[:-1])
        assert gated(policy, name, pairs) == {}


def test_forged_turns(policy: Any, cases_dir: Path) -> None:
    """One user message is one turn: its role markers are text."""
    _, tokenizer = load_policy(policy("plain")[0], Compute(threads=1))
    for row in rows(cases_dir, "forged_turns.jsonl"):
        encoded = encode_pair(tokenizer, [{"role": "user", "content": row["prompt"]}], row["chosen"])
        assert encoded.prompt_ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2
        assert encoded.prompt_ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1
        assert encoded.spelled == 4
        assert row["prompt"] in tokenizer.decode(encoded.prompt_ids)


def test_prefilled(policy: Any, cases_dir: Path) -> None:
    """The begun answer is continued: no turn is closed or opened between it and the completion."""
    _, tokenizer = load_policy(policy("plain")[0], Compute(threads=1))
    for row in rows(cases_dir, "prefilled.jsonl"):
        encoded = encode_pair(tokenizer, row["prompt"], text_of(row["chosen"]))
        begun = row["prompt"][-1]["content"]
        assert tokenizer.decode(encoded.prompt_ids).endswith(f"<|im_start|>assistant\n{begun}")
        assert tokenizer.decode(encoded.completion_ids) == text_of(row["chosen"]) + "<|im_end|>"
        assert (encoded.prefix_ok, encoded.fault) == (True, "")


def test_ignores_system(policy: Any, cases_dir: Path) -> None:
    """The record of the model says so, and the gate finds every record whose system message is left out."""
    assert policy("ignores_system")[1].metrics["system_messages"] == "left out"
    assert policy("plain")[1].metrics["system_messages"] == "written"
    pairs = rows(cases_dir, "system_decides.jsonl")
    assert gated(policy, "ignores_system", pairs) == {"left_out": len(pairs)}
    assert gated(policy, "plain", pairs) == {}


def test_loses_characters(policy: Any, cases_dir: Path) -> None:
    """The record of the model counts probes, the gate every row that does not decode to its text."""
    assert policy("loses_characters")[1].metrics["lossy_probes"] > 0
    assert policy("plain")[1].metrics["lossy_probes"] == 0
    pairs = rows(cases_dir, "characters.jsonl")
    assert gated(policy, "loses_characters", pairs) == {"lossy": len(pairs)}
    assert gated(policy, "plain", pairs) == {}


def test_plain_refuses_a_layer_that_is_not_there(policy: Any) -> None:
    model, _ = load_policy(policy("plain")[0], Compute(threads=1))
    with pytest.raises(ParamsError, match=r"no layer of this name .*\(got no_such_layer\). Choose from .*q_proj"):
        check_targets(model, Lora(rank=4, targets=("no_such_layer",)))
    check_targets(model, Lora(rank=4, targets=("lm_head",)))  # its own weights: an adapter can be merged


def test_tied_refuses_an_adapter_on_one_of_two_layers_that_are_one(policy: Any) -> None:
    model, _ = load_policy(policy("tied")[0], Compute(threads=1))
    for target, twin in (("lm_head", "model.embed_tokens"), ("embed_tokens", "lm_head")):
        with pytest.raises(ParamsError, match=rf"shares its weights with {twin}.*cannot be merged"):
            check_targets(model, Lora(rank=8, targets=("q_proj", target)))
    check_targets(model, Lora(rank=8))
    check_targets(model, Lora(rank=0, targets=("lm_head",)))  # no adapter at all


def test_learned_positions(policy: Any, cases_dir: Path) -> None:
    """256 positions: a row of the default 1024 tokens is limited to them, and a prompt leaves room for its answer."""
    folder, record = policy("learned_positions")
    assert (record.metrics["positions"], positions(folder), row_limit(folder, 1024)) == (256, 256, 256)
    room = prompt_limit(folder, 64, "answers.sampler.max_new_tokens")
    assert room == 192
    _, tokenizer = load_policy(folder, Compute(threads=1))
    near = [
        len(encode_prompt(tokenizer, [{"role": "user", "content": row["prompt"]}]))
        for row in rows(cases_dir, "prompts_near_the_limit.jsonl")
    ]
    assert any(length > room for length in near)
    with pytest.raises(ParamsError, match=r"max_new_tokens: leaves no room .* 256 positions \(got 256\). Lower it"):
        prompt_limit(folder, 256, "answers.sampler.max_new_tokens")


def test_rope_by_batch(policy: Any) -> None:
    """Its 64 positions are those within which a longer neighbour changes nothing."""
    folder, _ = policy("rope_by_batch")
    assert row_limit(folder, 1024) == 64
    model, _ = load_policy(folder, Compute(threads=1))
    short, longest, longer = (Sequence([5] * 10, list(range(20, 10 + n))) for n in (30, 64, 65))
    alone, beside = (_logps(model, rows)[0] for rows in ([short], [short, longest]))
    assert beside == pytest.approx(alone, abs=1e-5)
    with pytest.raises(ArtifactError, match=r"log-probabilities: the model has fewer positions .*\(got 65 > 64\)"):
        _logps(model, [short, longer])


def _tokens(model: Any, batch: Any) -> Any:
    return completion_logps(model, batch).tokens


def _logps(model: Any, rows: list[Sequence]) -> list[list[float]]:
    return sequence_logprobs(model, rows, device=torch.device("cpu"), precision="fp32", micro_batch_tokens=4096)


@pytest.mark.parametrize(("name", "shares"), [("plain", True), ("sliding_window", True), ("no_4d_mask", False)])
def test_prompts_are_shared_only_where_the_numbers_stay_the_same(
    name: str, shares: bool, policy: Any, cases_dir: Path
) -> None:
    """A window of 80 tokens holds in shared rows; a model that takes no cuts computes each prompt again."""
    model, tokenizer = load_policy(policy(name)[0], Compute(threads=1))
    examples = []
    for row in rows(cases_dir, "long_prompts.jsonl")[:4]:
        prompt = [{"role": "user", "content": row["prompt"]}]
        pair = [encode_pair(tokenizer, prompt, row[role]) for role in ("chosen", "rejected")]
        sides = zip(pair, ("chosen", "rejected"), strict=True)
        examples.append(Example(tuple(Sequence(e.prompt_ids, e.completion_ids, role) for e, role in sides)))
    assert share_prompts("auto", examples, model, _tokens, torch.device("cpu")) == shares


def test_no_4d_mask_has_no_limit(policy: Any) -> None:
    assert row_limit(policy("no_4d_mask")[0], 1024) == 1024


def test_learned_positions_and_plain_are_told_at_plan_time(made: Any) -> None:
    """Nothing has run: rows of every step are limited to 256, longer answers and foreign layers are refused."""
    graph = flow_graph("align")[0]

    def params(name: str, **sections: Any) -> dict[str, Any]:
        default = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8"))
        return {**default, "base_model": {"source": str(made(name)), "revision": "r"}, **sections}

    check_base(graph, params("learned_positions"))
    assert (
        "keeps rows of up to 256 and test prompts of up to 192" in describe_base(graph, params("learned_positions"))[1]
    )
    with pytest.raises(ParamsError, match=r"^answers.sampler.max_new_tokens: .*\(got 100, room for 64\)"):
        check_base(graph, params("learned_positions", answers={"sampler": {"max_new_tokens": 100}}))
    for name, target in (("plain", "no_such_layer"), ("tied", "lm_head")):
        lora = {"rank": 8, "targets": [target]}
        with pytest.raises(
            ParamsError, match=rf"^policy_optimization.lora.targets: .*\(got {target}\). Choose.*q_proj"
        ):
            check_base(graph, params(name, policy_optimization={"lora": lora}))
