"""Text to token ids, and the proof that they say what the record says. Never truncates. Torch-free.

A model with a chat template sees the rendered conversation; one without sees the contents of the messages joined by
newlines, then the completion, then EOS. Of every prompt and completion is known:

- every text is in the rendering, once, in its order, and a user's turn is told from an assistant's (`template.py`);
- no text becomes a control token: what is spelled like one is encoded as the plain text that it is;
- the tokens decode to the texts;
- the completion ends with the token at which a generation stops, and the prompt's tokens are a prefix of the whole.

What cannot be had is named in `Encoded.fault`; `rules.py` says what to do about it. A prompt that ends with a begun
answer is continued.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from components.sequences.codec import Codec, Ids, Rendered, as_text, codec_of, is_begun
from components.sequences.example import Sequence
from components.sequences.template import Message


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt and completion as token ids, with what the rules read.

    `prefix_ok`: the prompt's tokens are a prefix of the tokens of the whole conversation. `bos_count` at the start of
    the prompt (must not exceed 1), `eos_count` in the completion (must be 1), `cut`: tokens that the template put
    after the turn's end (a newline, usually), which no model ever generates. `fault`: the rule that the round trip
    breaks, `got` where. `spelled`: control tokens that texts spell, encoded as text. `trimmed`: texts whose outer
    blanks the template takes away.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    prefix_ok: bool
    bos_count: int
    eos_count: int
    cut: int
    fault: str = ""
    got: str = ""
    spelled: int = 0
    trimmed: int = 0

    @property
    def row(self) -> Sequence:
        return Sequence(self.prompt_ids, self.completion_ids)


PROBES = ("Hello world", "  two spaces\n\nand lines ", "naïve café – 你好 🙂", "x=1;\tif(x){y[0]}")
"""Short texts of every sort, to see whether a tokenizer keeps them."""


def lossy_probes(tokenizer: Any) -> int:
    """How many of the probes do not decode to themselves: 0 for a tokenizer of bytes."""
    ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROBES)
    kept = [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in ids]
    return sum(text != probe for text, probe in zip(kept, PROBES, strict=True))


def encode_prompt(tokenizer: Any, messages: Collection[Message]) -> list[int]:
    """The prompt as the model sees it before it answers: with the generation prompt, or up to a begun answer."""
    return list(codec_of(tokenizer).prompt(list(messages))[1].ids)


def encode_pair(tokenizer: Any, messages: Collection[Message], completion: str) -> Encoded:
    """Prompt and completion ids; the completion ends with exactly the EOS that a generation would end with.

    If the prompt's tokens are not a prefix of the whole (a token merges across the boundary, or the template renders
    the prompt differently once it is answered), `prefix_ok` is False and the completion is tokenized by itself; that of
    a begun answer always is, as a model that goes on with it would.
    """
    codec, asked = codec_of(tokenizer), list(messages)
    prompt, start = codec.prompt(asked)
    whole = _answered(codec, asked, completion, prompt)
    extends = whole.text.startswith(prompt.text)
    apart = tokenizer.chat_template is None or is_begun(asked)
    ids, prefix_ok = start, extends
    if extends and not apart:
        ids = codec.encode(whole)
        prefix_ok = ids.ids[: len(start.ids)] == start.ids
    if prefix_ok and not apart:
        completion_ids = ids.ids[len(start.ids) :]
    else:
        ids = codec.encode(codec.rest(whole, len(prompt.text)) if extends else as_text(completion))
        completion_ids = ids.ids
    completion_ids, cut = _end_at_eos(completion_ids, tokenizer.eos_token_id, codec.head.count(tokenizer.eos_token))
    fault, got = _round_trip(codec, (prompt, start), (whole, ids), [*start.ids, *completion_ids])
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return Encoded(
        start.ids,
        completion_ids,
        prefix_ok,
        bos_count=_run_of(bos, start.ids) if bos != eos else 0,
        eos_count=completion_ids.count(eos),
        cut=cut,
        fault=fault,
        got=got,
        spelled=ids.spelled + (start.spelled if apart else 0),
        trimmed=whole.trimmed,
    )


def _answered(codec: Codec, asked: list[Message], completion: str, prompt: Rendered) -> Rendered:
    """The whole conversation. A begun answer and what follows it are one message."""
    if codec.template is None:
        end = len(prompt.text)
        at = [*prompt.places, (end, end + len(completion))]
        return replace(prompt, text=prompt.text + completion, places=at)
    if is_begun(asked):
        asked, completion = asked[:-1], asked[-1]["content"] + completion
    return codec.answered([*asked, {"role": "assistant", "content": completion}])


def _round_trip(
    codec: Codec, prompt: tuple[Rendered, Ids], whole: tuple[Rendered, Ids], ids: list[int]
) -> tuple[str, str]:
    """(rule, what was found): the first broken one of those about texts; empty if none is."""
    for rendered, _ in (whole, prompt):
        if rendered.fault:
            return rendered.fault, rendered.got
    spelled, clean = (prompt[1].spelled or whole[1].spelled), (prompt[1].clean and whole[1].clean)
    lost = codec.lost(whole[0], ids)
    if not clean or (spelled and lost):
        return "control_tokens", lost or codec.spelling(whole[0])
    return ("lossy", lost) if lost else ("", "")


def _run_of(token: int | None, ids: list[int]) -> int:
    """How many of `token` the ids begin with. Templates of some releases begin every later turn with BOS, too."""
    return next((place for place, one in enumerate(ids) if one != token), len(ids))


def _end_at_eos(ids: list[int], eos: int, before: int) -> tuple[list[int], int]:
    """Cut what follows the EOS of the answer (`before` it there are so many); add one where there is none.

    Returns (ids, tokens cut).
    """
    ends = [place for place, token in enumerate(ids) if token == eos] if eos in ids else []
    if len(ends) <= before:
        return [*ids, eos], 0
    end = ends[before] + 1
    return ids[:end], len(ids) - end
