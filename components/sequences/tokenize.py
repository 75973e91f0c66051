"""Text to token ids: chat template, one BOS, one EOS, prompt tokens a prefix of the whole. Never truncates.

A model with a chat template sees the rendered conversation. A model without one sees the contents of the messages
joined by newlines, then the completion, then EOS.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from components.sequences.example import Sequence


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt and completion as token ids, with the counts that the gate of curation reads.

    `prefix_ok`: the prompt's tokens are a prefix of the tokens of the whole conversation. `bos_count` over prompt and
    completion (must not exceed 1), `eos_count` in the completion (must be 1), `cut`: tokens that the template put
    after the final EOS (a newline, usually), which no model ever generates. `text`: what was made tokens of.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    prefix_ok: bool
    bos_count: int
    eos_count: int
    cut: int
    text: str = ""

    @property
    def row(self) -> Sequence:
        return Sequence(self.prompt_ids, self.completion_ids)


PROBES = ("Hello world", "  two spaces\n\nand lines ", "naïve café – 你好 🙂", "x=1;\tif(x){y[0]}")
"""Short texts of every sort, to see whether a tokenizer keeps them."""


def lossy_probes(tokenizer: Any) -> int:
    """How many of the probes do not decode to themselves: 0 for a tokenizer of bytes."""
    kept = [tokenizer.decode(_ids(tokenizer, text), clean_up_tokenization_spaces=False) for text in PROBES]
    return sum(text != probe for text, probe in zip(kept, PROBES, strict=True))


def encode_prompt(tokenizer: Any, messages: Collection[dict[str, str]]) -> list[int]:
    """The prompt as the model sees it before it answers (generation prompt included)."""
    if tokenizer.chat_template:
        return _ids(tokenizer, _render(tokenizer, messages, generate=True))
    ids = _ids(tokenizer, "\n".join(message["content"] for message in messages))
    return [tokenizer.bos_token_id, *ids] if _adds_bos(tokenizer) else ids


def encode_pair(tokenizer: Any, messages: Collection[dict[str, str]], completion: str) -> Encoded:
    """Prompt and completion ids; the completion ends with exactly the EOS that a generation would end with.

    If the prompt's tokens are not a prefix of the whole (a token merges across the boundary, or the template renders
    the prompt differently once it is answered), `prefix_ok` is False and the completion is tokenized by itself.
    """
    prompt_ids = encode_prompt(tokenizer, messages)
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    prefix_ok = True
    if not tokenizer.chat_template:
        whole = "\n".join(message["content"] for message in messages) + completion
        completion_ids = [*_ids(tokenizer, completion), eos]
    else:
        whole = _render(tokenizer, [*messages, {"role": "assistant", "content": completion}], generate=False)
        whole_ids = _ids(tokenizer, whole)
        prefix_ok = whole_ids[: len(prompt_ids)] == prompt_ids
        if prefix_ok:
            completion_ids = whole_ids[len(prompt_ids) :]
        else:
            prompt = _render(tokenizer, messages, generate=True)
            completion_ids = _ids(tokenizer, whole.removeprefix(prompt) if whole.startswith(prompt) else completion)
    completion_ids, cut = _end_at_eos(completion_ids, eos)
    bos_count = 0
    if bos is not None and bos != eos:
        bos_count = prompt_ids.count(bos) + completion_ids.count(bos)
    return Encoded(prompt_ids, completion_ids, prefix_ok, bos_count, completion_ids.count(eos), cut, whole)


def _end_at_eos(ids: list[int], eos: int) -> tuple[list[int], int]:
    """Cut what follows the last EOS; add one where the template writes none. Returns (ids, tokens cut)."""
    if eos not in ids:
        return [*ids, eos], 0
    end = len(ids) - ids[::-1].index(eos)
    return ids[:end], len(ids) - end


def _render(tokenizer: Any, messages: Collection[dict[str, str]], *, generate: bool) -> str:
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate)
    return text


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids without special tokens of the tokenizer's own: the template has written them already."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself starts a plain text with BOS."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and bool(ids) and ids[0] == tokenizer.bos_token_id
