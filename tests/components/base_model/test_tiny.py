"""The tiny recipe: tokenizer, template, held-out prompts, and a model that learned something."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from components.base_model.conversations import read_conversations
from components.base_model.params import Params, Tiny
from components.base_model.tiny import END, build_model, language_modeling, train_tokenizer
from components.contract import Record, run_component
from components.contract.params import build
from components.errors import ParamsError, RecordError, WiringError
from components.records import Groups, make_record, simple_task, text_candidate, write_records
from components.sequences import Sequence
from components.sequences.tokenize import encode_pair, encode_prompt
from components.training.params import Compute
from components.training.runtime import load_policy

SIZE = Tiny(vocab_size=300, hidden=16, layers=1, heads=2, kv_heads=1, context=64)
SMALL: dict[str, Any] = {
    "tiny": {"vocab_size": 300, "hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "context": 64},
    "optimization": {"learning_rate": 1e-2, "batch_size": 8, "epochs": 5.0},
    "compute": {"threads": 1},
    "held_out": 0.3,
}
TEXTS = [f"say word {i}" for i in range(40)]


def feedback(folder: Path, texts: list[str] = TEXTS) -> Path:
    """A feedback artifact: every prompt has the candidates `yes` and `no i`, each pair judged twice."""
    folder.mkdir(parents=True)
    records = [
        make_record(
            task=simple_task(text),
            candidates=[text_candidate("a", "yes"), text_candidate("b", f"no {i}")],
            judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]}],
            annotator={"id": person, "kind": "human"},
            provenance={"source": "test"},
        )
        for i, text in enumerate(texts)
        for person in ("p1", "p2")
    ]
    write_records(folder / "records.jsonl", records)
    (folder / "quarantine.jsonl").write_text("")
    (folder / "summary.json").write_text("{}")
    return folder


def make(text: Path, out: Path, **params: Any) -> Record:
    return run_component("base_model", {**SMALL, **params}, {"text": [text]}, {"policy": out})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("base")
    return folder / "policy", make(feedback(folder / "text"), folder / "policy")


@pytest.mark.parametrize("text", ["say word 1", "  two  spaces\n\tand a tab ", "naïve – 你好 🙂", ""])
def test_tokenizer_is_lossless(text: str) -> None:
    """Any text decodes to itself, also one unlike anything the tokenizer was trained on."""
    tokenizer = train_tokenizer(TEXTS, SIZE)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_template_keeps_the_prompt_as_a_prefix_and_ends_every_answer_once() -> None:
    """Prompt ids are a prefix of the conversation's ids; one EOS, at the end of the answer, none in the prompt."""
    tokenizer = train_tokenizer(TEXTS, SIZE)
    conversation = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "say word 1"},
        {"role": "assistant", "content": "word 1"},
        {"role": "user", "content": "again"},
    ]
    encoded = encode_pair(tokenizer, conversation, " word 1")
    assert encoded.prefix_ok
    assert (encoded.bos_count, encoded.eos_count, encoded.cut) == (0, 1, 0)
    assert encoded.completion_ids[-1] == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids(END)
    prompt = tokenizer.decode(encoded.prompt_ids)
    assert prompt == "<|system|>be brief<|user|>say word 1<|assistant|>word 1<|end|><|user|>again<|assistant|>"


def test_template_refuses_an_unknown_role() -> None:
    tokenizer = train_tokenizer(TEXTS, SIZE)
    with pytest.raises(Exception, match="role must be"):
        encode_prompt(tokenizer, [{"role": "tool", "content": "x"}])


def test_held_out_prompts_are_never_read(tmp_path: Path) -> None:
    """A prompt is held out with all its candidates by its share; each (prompt, candidate) counts once."""
    found = read_conversations(feedback(tmp_path / "text") / "records.jsonl", 0.3)
    trained, kept = ({item.messages[0]["content"] for item in side} for side in (found.train, found.held_out))
    shares = {text: Groups([]).share([{"role": "user", "content": text}]) for text in TEXTS}
    assert kept == {text for text, share in shares.items() if share < 0.3}
    assert trained == set(TEXTS) - kept
    assert len(found.train) == 2 * len(trained)


def test_loss_is_the_mean_over_tokens() -> None:
    """The mean of the rows' losses is sum(-log p) over all predicted tokens / their number."""
    tokenizer = train_tokenizer(TEXTS, SIZE)
    model = build_model(tokenizer, SIZE, seed=0).eval()
    rows = [Sequence([5], [6, 7, 8, 9, 10, 11]), Sequence([5], [12, 1])]
    task = language_modeling(rows, torch.device("cpu"))
    assert task.statistics is not None
    with torch.no_grad():
        quantities = task.forward(model, rows)
        quantities["mean_tokens"] = torch.tensor(task.statistics(model, [0, 1], {})[0]["mean_tokens"])
        losses = task.loss(quantities)
        total = 0.0
        for row in rows:
            ids = [*row.prompt_ids, *row.completion_ids]
            logps = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            total -= float(logps[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum())
    assert float(losses.mean()) == pytest.approx(total / 8, rel=1e-5)


def test_same_seed_same_weights() -> None:
    tokenizer = train_tokenizer(TEXTS, SIZE)
    one, two, other = (build_model(tokenizer, SIZE, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_policy_is_complete_and_learned(made: tuple[Path, Record]) -> None:
    """The artifact loads, its template is there, its loss fell from about log V, held-out loss is reported."""
    path, record = made
    model, tokenizer = load_policy(path, Compute(threads=1))
    log = [json.loads(line) for line in (path / "training_log.jsonl").read_text().splitlines()]
    assert tokenizer.chat_template
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert log[0]["loss"] > 5.0  # log 300 = 5.7
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    metrics = record.metrics
    assert metrics["held_out_loss"] < 0.8 * log[0]["loss"]
    assert metrics["conversations"] + metrics["held_out_conversations"] == 2 * len(TEXTS)
    assert 0.0 <= metrics["eos_rate"] <= 1.0
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())


def test_same_params_same_bytes(made: tuple[Path, Record], tmp_path: Path) -> None:
    assert make(feedback(tmp_path / "text"), tmp_path / "policy").outputs == made[1].outputs
    assert make(tmp_path / "text", tmp_path / "other", seed=1).outputs != made[1].outputs


def test_conversations_longer_than_the_context_are_counted(tmp_path: Path) -> None:
    """They are left out whole, never cut."""
    record = make(feedback(tmp_path / "text", [*TEXTS, "word " * 100]), tmp_path / "policy", held_out=0.0)
    assert record.metrics["conversations_too_long"] == 2
    assert record.metrics["conversations"] == 2 * len(TEXTS)


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no conversation to learn from"):
        make(feedback(tmp_path / "text", ["word " * 100]), tmp_path / "policy", held_out=0.0)


def test_tiny_needs_text(tmp_path: Path) -> None:
    with pytest.raises(WiringError, match="'text', which is missing"):
        run_component("base_model", SMALL, {}, {"policy": tmp_path / "policy"})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"tiny": {"vocab_size": 200}}, "vocab_size: must be at least 261"),
        ({"tiny": {"hidden": 130}}, "hidden: must be a multiple of 2 x heads 4"),
        ({"tiny": {"kv_heads": 3}}, "kv_heads: must divide heads 4"),
        ({"held_out": 1.0}, "held_out"),
        ({"source": ""}, "source: is empty"),
    ],
)
def test_impossible_params_are_errors(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(Params, bad, "params.base_model")
