"""One number, whatever path and architecture: each way equals the row alone, or is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architectures import KINDS, WAYS, gaps

SHARES = {
    name for name in KINDS if name.split()[0] in ("Llama,", "Mistral", "Gemma", "Qwen", "GPT-2", "OPT", "Mixtral")
}
OFTEN = ("Llama", "Mistral (window)", "Gemma 2 (window, soft caps)", "BLOOM (ALiBi)", "Mamba", "Jamba (hybrid, MoE)")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.slow) for n in KINDS])
def test_every_way_is_the_row_alone_or_is_not_taken(name: str, tmp_path: Path) -> None:
    found = gaps(name, tmp_path)
    assert set(found) == set(WAYS)
    for way, gap in found.items():
        assert isinstance(gap, str) or gap < 2e-5, way
    assert not isinstance(found["padded"], str)
    assert not isinstance(found["sampled"], str)
    if name in SHARES:
        assert not isinstance(found["shared"], str), "a way that is right for it is taken"
