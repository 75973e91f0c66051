"""One rule for how long a row and a prompt may be, whatever a config calls its positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ArtifactError, ParamsError
from components.model_files.positions import config_positions, positions, prompt_limit, row_limit


def folder(tmp_path: Path, **config: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 32, "n_ctx": 48}, 32),
        ({"max_seq_len": 16}, 16),
        ({"text_config": {"max_position_embeddings": 24}, "vision_config": {"max_position_embeddings": 4}}, 24),
        ({"model_type": "bloom", "seq_length": 2048}, None),
        ({"model_type": "falcon", "alibi": True, "max_position_embeddings": 2048}, None),
        ({"model_type": "falcon", "alibi": False, "max_position_embeddings": 2048}, 2048),
        ({"model_type": "mpt", "max_seq_len": 128, "attn_config": {"alibi": True}}, 128),
        ({"model_type": "kimi_linear", "model_max_length": 4096}, 4096),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": True}, None),
    ],
)
def test_positions_by_any_name(config: dict[str, Any], limit: int | None) -> None:
    assert config_positions(config) == limit


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, 4096),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 256}}, 256),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 512}, 512),
        ({"rope_parameters": {"full": {"rope_type": "longrope", "original_max_position_embeddings": 128}}}, 128),
        ({"rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 256}}, 4096),
        ({"rope_parameters": {"rope_type": "llama3", "original_max_position_embeddings": 256}}, 4096),
        ({"rope_scaling": None}, 4096),
    ],
)
def test_rotary_positions_that_move_count_up_to_where_they_begin_to_move(config: dict[str, Any], limit: int) -> None:
    """dynamic and longrope change for a whole batch with its longest row; the others are fixed."""
    assert config_positions({"max_position_embeddings": 4096, **config}) == limit


def test_a_row_has_the_fewer_of_max_length_and_positions(tmp_path: Path) -> None:
    path = folder(tmp_path, n_positions=256)
    assert (row_limit(path, 1024), row_limit(path, 100)) == (256, 100)
    assert row_limit(folder(tmp_path), 1024) == 1024


def test_a_prompt_leaves_room_for_its_answer(tmp_path: Path) -> None:
    path = folder(tmp_path, n_positions=256)
    assert prompt_limit(path, 64, "answers.sampler.max_new_tokens") == 192
    assert prompt_limit(path, 255, "x") == 1
    with pytest.raises(ParamsError, match=r"^answers.sampler.max_new_tokens: .*256 positions \(got 256\). Lower it"):
        prompt_limit(path, 256, "answers.sampler.max_new_tokens")
    assert prompt_limit(folder(tmp_path), 10_000, "x") is None


def test_a_missing_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"config.json: cannot be read"):
        positions(tmp_path)
