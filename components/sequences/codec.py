"""How one tokenizer and its chat template write conversations: rendered, located, made tokens of. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from components.sequences.template import TEMPLATE_FAILURES, Frame, Message, frame, places, render

Place = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, with the places of the records' texts in it, in order.

    `controls`: control tokens that the template writes. `fault` and `got`: what is wrong with it (see `rules.py`).
    `trimmed`: texts that lost outer blanks.
    """

    text: str
    places: Sequence[Place]
    controls: int
    fault: str = ""
    got: str = ""
    trimmed: int = 0


@dataclass(frozen=True)
class Ids:
    """Tokens of a text. `spelled`: control tokens that texts spell, encoded as text; `clean`: and none is left."""

    ids: list[int]
    spelled: int
    clean: bool


class Codec:
    """What is known of a tokenizer and its template, found once. Made by `codec_of`."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.template: str | None = tokenizer.chat_template
        self._frames: dict[tuple[tuple[str, ...], bool], tuple[Frame, int]] = {}
        self.control = _special_tokens(tokenizer) | self._turn_tokens()
        spellings = sorted(map(tokenizer.convert_ids_to_tokens, self.control), key=len, reverse=True)
        self._spelled = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")
        self._normalizer = _normalizer_of_bytes(tokenizer)
        self._starts_with_bos = _starts_with_bos(tokenizer)
        self.head, self.tail, self.closes = self._edges()
        self._turns = self._plain_turns()
        self._last: tuple[list[Message], Rendered, Ids] | None = None

    def prompt(self, messages: list[Message]) -> tuple[Rendered, Ids]:
        """The prompt as text and as ids; a begun answer stays open. Raises what the template raises."""
        if self._last is None or self._last[0] != messages:
            found = self._begun(messages) if is_begun(messages) else self.rendered(messages, generate=True)
            ids = self.encode(found)
            if self.template is None and self._starts_with_bos:
                ids = replace(ids, ids=[self.tokenizer.bos_token_id, *ids.ids])
            self._last = (messages, found, ids)
        return self._last[1:]

    def answered(self, messages: Sequence[Message]) -> Rendered:
        """A conversation that ends with an answer. Blanks after its end are not the model's to say: they are cut."""
        whole = self.rendered(messages, generate=False)
        if self.closes or not whole.places:
            return whole
        return replace(whole, text=whole.text[: whole.places[-1][1]] + self.tail)

    def rendered(self, messages: Sequence[Message], *, generate: bool) -> Rendered:
        """The conversation as the template writes it. Raises what the template raises."""
        contents = [message["content"] for message in messages]
        roles = tuple(message["role"] for message in messages)
        if self.template is None:
            return _joined(contents, roles)
        text = render(self.tokenizer, messages, generate=generate)
        found, controls = self._frame(roles, generate)
        if found.fault:
            return Rendered(text, (), controls, found.fault, found.got)
        where = places(text, found, contents)
        if isinstance(where, int):
            got = f"message {where + 1} ({roles[where]}) reads {_short(contents[where])}"
            return Rendered(text, (), controls, "left_out", got)
        at, exact = where
        if not exact:
            controls = self._template_controls(text, at)
        trimmed = sum(end - start < len(contents[n]) for n, (start, end) in zip(found.slots, at, strict=True))
        forged = self._forged(contents)
        return Rendered(text, at, controls, "forged_turn" if forged else "", forged, trimmed)

    def rest(self, whole: Rendered, start: int) -> Rendered:
        """What stands from `start` on."""
        at = [(max(0, first - start), last - start) for first, last in whole.places if last > start]
        text = whole.text[start:]
        return Rendered(text, at, self._template_controls(text, at))

    def encode(self, rendered: Rendered) -> Ids:
        """What texts spell like control tokens is encoded as text."""
        ids = self._ids(rendered.text)
        if self.count(ids) == rendered.controls:
            return Ids(ids, 0, clean=True)
        ids, at, spelled = [], 0, 0
        for start, end in rendered.places:
            for word in self._spelled.finditer(rendered.text, start, end):
                ids += [*self._ids(rendered.text[at : word.start()]), *self._plain(word[0])]
                at, spelled = word.end(), spelled + 1
        ids += self._ids(rendered.text[at:])
        return Ids(ids, spelled, clean=self.count(ids) == rendered.controls)

    def spelling(self, rendered: Rendered) -> str:
        """The first place where a text spells a control token."""
        for start, end in rendered.places:
            if word := self._spelled.search(rendered.text, start, end):
                return _short(rendered.text[max(start, word.start() - 20) : end])
        return "a control token across the edge of a text"

    def count(self, ids: Sequence[int]) -> int:
        """Control tokens among the ids."""
        return sum(map(self.control.__contains__, ids))

    def lost(self, rendered: Rendered, ids: Sequence[int]) -> str:
        """The first text that the ids do not decode to, and what became of it; empty if none.

        A tokenizer of bytes keeps every text that its normalizer leaves alone: no need to look.
        """
        if self._normalizer is not None and self._normalizer(rendered.text) == rendered.text:
            return ""
        decoded, at = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False), 0
        for start, end in rendered.places:
            text = rendered.text[start:end]
            place = decoded.find(text, at)
            if place < 0:
                at = max(at, decoded.find(text[:1], at))
                return f"{_short(text)} reads {_short(decoded[at : at + len(text)])}"
            at = place + len(text)
        return ""

    def _begun(self, messages: list[Message]) -> Rendered:
        """The prompt up to the end of a begun answer, whose blanks at the end stay."""
        whole = self.rendered(messages, generate=False)
        if whole.fault or not whole.places:
            return whole
        begun, (start, end) = messages[-1]["content"], whole.places[-1]
        kept = begun[begun.find(whole.text[start:end]) :]
        text, at = whole.text[:start] + kept, [*whole.places[:-1], (start, start + len(kept))]
        return Rendered(text, at, self._template_controls(text, at), whole.fault, whole.got, whole.trimmed)

    def _frame(self, roles: tuple[str, ...], generate: bool) -> tuple[Frame, int]:
        if (roles, generate) not in self._frames:
            found = frame(self.tokenizer, roles, generate=generate)
            self._frames[roles, generate] = (found, sum(self.count(self._ids(piece)) for piece in found.pieces))
        return self._frames[roles, generate]

    def _template_controls(self, text: str, at: Sequence[Place]) -> int:
        """Control tokens of a text outside of the given places."""
        edges = [0, *(edge for place in at for edge in place), len(text)]
        return sum(self.count(self._ids(text[a:b])) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)

    def _turn_tokens(self) -> set[int]:
        """Added tokens that are not special, but that the template writes between turns; not those before an answer."""
        added = set(self.tokenizer.added_tokens_decoder)
        found = self._try_frame(("user", "assistant", "user"), generate=True)
        return {token for piece in found for token in self._ids(piece) if token in added - _unknown(self.tokenizer)}

    def _edges(self) -> tuple[str, str, bool]:
        """What the template writes between the generation prompt and an answer, and from there to EOS; is there one."""
        asked, answered = self._try_frame(("user",), generate=True), self._try_frame(("user", "assistant"))
        if len(asked) != 2 or len(answered) != 3:
            return "", "", True
        head = answered[1][len(asked[1]) :] if answered[1].startswith(asked[1]) else ""
        tail = answered[2].partition(self.tokenizer.eos_token)[0]
        closes = tail != answered[2]
        return head, tail if closes or tail.strip() else "", closes

    def _plain_turns(self) -> tuple[str, ...]:
        """What the template writes between turns, where it holds no control token, so that a text can forge it."""
        pieces = self._try_frame(("user", "assistant", "user", "assistant")) or self._try_frame(("user", "assistant"))
        between = {piece.strip(" ") for piece in pieces[1:-1] if not self.count(self._ids(piece))}
        return tuple(sorted(turn for turn in between if any(letter.isalnum() for letter in turn)))

    def _forged(self, contents: Sequence[str]) -> str:
        for content in contents if self._turns else ():
            for turn in self._turns:
                if turn in content:
                    at = content.index(turn)
                    return f"{turn!r} in {_short(content[max(0, at - 20) :])}"
        return ""

    def _try_frame(self, roles: tuple[str, ...], *, generate: bool = False) -> tuple[str, ...]:
        """The pieces of a frame, none where there is no template or it refuses such a conversation."""
        if self.template is None:
            return ()
        try:
            return frame(self.tokenizer, roles, generate=generate).pieces
        except TEMPLATE_FAILURES:
            return ()

    def _ids(self, text: str) -> list[int]:
        """Token ids without special tokens of the tokenizer's own: the template has written them already."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _plain(self, spelling: str) -> list[int]:
        """The spelling of a control token as the plain text that it is; cut in two where it is no special token."""
        ids: list[int] = self.tokenizer(spelling, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if self.count(ids) and len(spelling) > 1:
            return [*self._ids(spelling[:1]), *self._ids(spelling[1:])]
        return ids


_codecs: WeakKeyDictionary[Any, tuple[tuple[Any, ...], Codec]] = WeakKeyDictionary()


def codec_of(tokenizer: Any) -> Codec:
    """The codec of a tokenizer as it is now: found again when its template or its EOS changes."""
    state = (tokenizer.chat_template, tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer))
    if tokenizer not in _codecs or _codecs[tokenizer][0] != state:
        _codecs[tokenizer] = (state, Codec(tokenizer))
    return _codecs[tokenizer][1]


def is_begun(messages: Sequence[Message]) -> bool:
    """Whether a prompt ends within an answer, which is to be continued."""
    return bool(messages) and messages[-1]["role"] == "assistant"


def as_text(text: str) -> Rendered:
    """A text of a record and nothing else."""
    return Rendered(text, [(0, len(text))], 0)


def _joined(contents: Sequence[str], roles: Sequence[str]) -> Rendered:
    """Without a template: the contents, joined by newlines."""
    at, start = [], 0
    for content in contents:
        at.append((start, start + len(content)))
        start += len(content) + 1
    lost = "assistant" in roles[:-1]
    got = "no chat template, and an answer before the last turn" if lost else ""
    return Rendered("\n".join(contents), at, 0, "role_lost" if lost else "", got)


def _special_tokens(tokenizer: Any) -> set[int]:
    """Ids that steer a model: what the tokenizer calls special. An unknown token of its own is none of them."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return (special | set(tokenizer.all_special_ids)) - _unknown(tokenizer)


def _unknown(tokenizer: Any) -> set[int | None]:
    """The token of what a tokenizer does not know, where it is none that steers as well (in GPT-2 it is)."""
    return {tokenizer.unk_token_id} - {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}


def _normalizer_of_bytes(tokenizer: Any) -> Any:
    """What a tokenizer of bytes does to a text before it cuts it; None if it is no tokenizer of bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    state = json.loads(backend.to_str())
    steps = state["pre_tokenizer"] or {}
    kinds = [step["type"] for step in steps.get("pretokenizers", [steps]) if step]
    of_bytes = kinds[-1:] == ["ByteLevel"] and (state["decoder"] or {}).get("type") == "ByteLevel"
    whole = sum(len(piece) == 1 for piece in state["model"].get("vocab", ())) >= 256
    if not (of_bytes and whole) or any(step.get("add_prefix_space") for step in steps.get("pretokenizers", [steps])):
        return None
    return (lambda text: text) if backend.normalizer is None else backend.normalizer.normalize_str


def _starts_with_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself starts a plain text with BOS."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and bool(ids) and ids[0] == tokenizer.bos_token_id


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
