"""A policy whose every answer is known: what it says next depends on its last token alone."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from tests.tiny import tiny_model, tiny_tokenizer

SAYS = "[[A]]"
LEAD = 6.0  # logit of what it says, where every other token has 0 and the runner-up 1
OTHER = "[[B]]"


def write_policy(folder: Path, *, positions: int = 8192, ends: bool = True, template: str = "") -> Path:
    """Answers `[[A]]` to anything, then ends (or says it for ever). Attention and MLP add nothing, so the logits are
    those of the last token's embedding, one of three unit vectors."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([SAYS, OTHER])
    tokenizer.chat_template = template or tokenizer.chat_template
    model = tiny_model(vocab=len(tokenizer), max_position_embeddings=positions, tie_word_embeddings=False)
    start, says, other = tokenizer.convert_tokens_to_ids(["<|assistant|>", SAYS, OTHER])
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding, head = model.model.embed_tokens.weight.zero_(), model.lm_head.weight.zero_()
        embedding[:, 2], embedding[start, :3], embedding[says, :3] = 1, torch.eye(3)[0], torch.eye(3)[1]
        unit = 1 / math.sqrt(model.config.hidden_size)  # a unit vector is sqrt(hidden) after the last norm
        head[says, 0], head[other, 0] = LEAD * unit, unit
        head[tokenizer.eos_token_id if ends else says, 1] = 40 * unit
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
