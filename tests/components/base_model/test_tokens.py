"""A tokenizer without an end, of another model, or damaged is refused; what is brought stops at control tokens only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.base_model.tokens import check_vocabulary
from components.errors import ArtifactError
from components.training.params import Compute
from components.training.runtime import load_policy
from tests.components.base_model.brought import bring, change_json, source
from tests.tiny import tiny_tokenizer

EOS = tiny_tokenizer().eos_token_id


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, r"holds no tokenizer \(got none of tokenizer.json"),
        ("tokenizer.json", "{", "the tokenizer cannot be loaded"),
        ("tokenizer.json", '{"model": {}}', "the tokenizer cannot be loaded"),
        ("tokenizer_config.json", "{", "the tokenizer cannot be loaded"),
        (
            "tokenizer_config.json",
            None,
            r"the tokenizer has no EOS token.*Set eos_token in tokenizer_config.json.*<eos>",
        ),
    ],
)
def test_a_damaged_tokenizer_is_told(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    folder = source(tmp_path)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(ArtifactError, match=f"source: {message}"):
        bring(folder, tmp_path / "policy")


def test_no_eos_is_refused_and_no_pad_is_counted(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_json(folder / "tokenizer_config.json", pad_token=None)
    metrics = bring(folder, tmp_path / "policy").metrics
    assert metrics["pad_token_was_missing"] == 1
    assert load_policy(tmp_path / "policy", Compute(threads=1))[1].pad_token == "<eos>"
    change_json(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ArtifactError, match=r"no EOS token, so no answer could end \(got None\)"):
        bring(folder, tmp_path / "other")


def test_a_pad_token_beyond_the_model_is_refused(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_json(folder / "config.json", pad_token_id=99_999)
    with pytest.raises(ArtifactError, match=r"config.json: pad_token_id is no token of the model \(got 99999"):
        bring(folder, tmp_path / "policy")


def test_more_tokens_than_rows_are_refused_and_padding_rows_are_counted(tmp_path: Path) -> None:
    size = len(tiny_tokenizer())
    metrics = bring(source(tmp_path, vocab=size + 20), tmp_path / "policy").metrics
    assert (metrics["vocab_size"], metrics["embedding_rows"]) == (size, size + 20)
    folder = source(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ArtifactError, match=rf"{size + 1} > {size}, the last is <extra>\).*resize_token_embeddings"):
        bring(folder, tmp_path / "other")


def test_ids_with_gaps_that_reach_beyond_the_rows_are_refused(tmp_path: Path) -> None:
    """Fewer tokens than rows, and still one without a row."""
    folder = source(tmp_path, vocab=len(tiny_tokenizer()) + 2)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocab, last = content["model"]["vocab"], max(content["model"]["vocab"].values())
    content["model"]["vocab"] = {token: i + 9 if i == last else i for token, i in vocab.items()}
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"more tokens than the model \(got"):
        bring(folder, tmp_path / "policy")


def test_rows_without_tokens_are_padding_or_another_models_tokenizer() -> None:
    """151,936 rows for 151,665 tokens, or 51,200 for 50,295, are round numbers; 128,256 for 32,000 are not."""
    for tokens, rows in ((151_665, 151_936), (50_295, 51_200), (94, 340)):
        check_vocabulary(tokens, rows, Path("model"), "x")
    with pytest.raises(ArtifactError, match=r"96256 of the model's 128256 embedding rows belong to no token"):
        check_vocabulary(32_000, 128_256, Path("model"), "x")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"eos_token_id": [EOS, 77]}, r"stop at an ordinary token, or at none \(got eos_token_id 77"),
        ({"eos_token_id": 99_999}, r"stop at an ordinary token, or at none \(got eos_token_id 99999, None"),
        ({"eos_token_id": "<eos>"}, r"must hold token ids \(got '<eos>'\)"),
    ],
)
def test_a_stop_token_that_a_person_wrote_must_be_a_control_token(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    folder = source(tmp_path)
    change_json(folder / "generation_config.json", _from_model_config=None, **config)
    with pytest.raises(ArtifactError, match=f"generation_config.json: .*{message}"):
        bring(folder, tmp_path / "policy")


def test_a_default_of_the_architecture_that_is_an_ordinary_token_is_left_out_and_counted(tmp_path: Path) -> None:
    """Llama's default eos_token_id 2 is a letter of many a small tokenizer: answers would end in mid-word."""
    folder = source(tmp_path, eos_token_id=77)
    metrics = bring(folder, tmp_path / "policy").metrics
    assert metrics["stop_tokens_left_out"] == 1
    written = json.loads((tmp_path / "policy/generation_config.json").read_text())
    assert written["eos_token_id"] == EOS
    assert load_policy(tmp_path / "policy", Compute(threads=1))[0].generation_config.eos_token_id == EOS


def test_a_generation_config_that_is_right_keeps_its_bytes(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_json(folder / "generation_config.json", temperature=0.6, top_p=0.9)
    bring(folder, tmp_path / "policy")
    name = "generation_config.json"
    assert (tmp_path / "policy" / name).read_bytes() == (folder / name).read_bytes()
    (folder / name).write_text("{")
    with pytest.raises(ArtifactError, match=r"generation_config.json: is not JSON"):
        bring(folder, tmp_path / "other")
