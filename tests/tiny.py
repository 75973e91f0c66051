"""A tokenizer and models small enough for unit tests, built from configs: nothing is downloaded.

The chat template is ChatML-like on purpose: an EOS closes every turn and a newline follows it, as in most released
models, so that the rule about text after the final EOS is exercised everywhere.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<bos>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>"]
TEXT = "the quick brown fox jumps over the lazy dog. please write a short answer about the colour of a dog and a fox."


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet))
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer.to_str()


def tiny_tokenizer(*, chat_template: bool = True, pad_is_eos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (about 320 tokens) with pad, bos, eos and a chat template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        pad_token="<eos>" if pad_is_eos else "<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
    )
    if chat_template:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_model(hidden: int = 32, layers: int = 2, vocab: int | None = None, *, seed: int = 0, **config: Any) -> Any:
    """A randomly initialised Llama in eval mode (about 40 k parameters by default); one seed, one set of weights."""
    tokenizer = tiny_tokenizer()
    defaults: dict[str, Any] = {
        "vocab_size": vocab or len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,  # larger than usual: logits far from uniform show more mistakes
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**defaults, **config})).eval()


def save_tiny_policy(folder: Path, *, chat_template: bool = True, seed: int = 0, **config: Any) -> Path:
    """A complete policy artifact (config, weights, tokenizer, template) at `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model(seed=seed, **config).save_pretrained(folder)
    tiny_tokenizer(chat_template=chat_template).save_pretrained(folder)
    return folder
