"""The tiny recipe: a tokenizer, a chat template and a Llama small enough to train on a CPU in under a minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from components.base_model.params import Tiny
from components.sequences import Example, Sequence
from components.training.batching import collate
from components.training.engine import Quantities
from components.training.logprobs import completion_logps
from components.training.loop import State, Task
from components.training.saved_check import Probe, policy_probe, rows_of

PAD, END = "<|pad|>", "<|end|>"
SPECIAL = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>"]

# A turn starts with its role's token; the model's own turns end with END, its end-of-sequence token. The rendering of
# a conversation up to `<|assistant|>` is a prefix of its rendering with the answer.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('role must be system, user or assistant (got ' + message['role'] + ')') -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] -}}
{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], size: Tiny) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts` with our special tokens and chat template; every text encodes and decodes exactly."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=SPECIAL[2:],
        model_max_length=size.context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: PreTrainedTokenizerFast, size: Tiny, seed: int) -> Any:
    """A randomly initialised Llama; the same seed gives the same weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=-(-size.hidden * 8 // 3 // 16) * 16,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.05,  # the usual 0.02 suits wide models; at this width learning would start slowly
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def language_modeling(rows: list[Sequence], device: torch.device) -> Task:
    """Next-token prediction over whole conversations: mean negative log-likelihood over the tokens of a batch.

    Row i's loss is -sum_i / L with L the mean number of predicted tokens of the global batch, so that the mean of the
    rows' losses is the mean over tokens.
    """

    def forward(model: nn.Module, examples: list[Sequence]) -> Quantities:
        found = completion_logps(model, collate(examples, device))
        return {"logps": found.sums, "tokens": found.lengths}

    def statistics(model: nn.Module, numbers: list[int], state: State) -> tuple[Mapping[str, float], State]:
        return {"mean_tokens": sum(len(rows[i].completion_ids) for i in numbers) / len(numbers)}, state

    def loss(quantities: Quantities) -> Tensor:
        return -quantities["logps"] / quantities["mean_tokens"]

    return Task(rows, [len(row) for row in rows], forward, loss, statistics=statistics, probe=probe_of(rows, device))


def probe_of(rows: list[Sequence], device: torch.device) -> Probe:
    """What a model says of some of the rows that it learned."""
    return policy_probe(rows_of([Example((row,)) for row in rows]), device)
