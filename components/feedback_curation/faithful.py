"""Whether a record's texts are what the model sees: none left out by the template, none lost by the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.sequences.tokenize import Encoded


def left_out(encoded: Encoded, conversation: Sequence[dict[str, str]]) -> str:
    """The role of the first message whose text is not in the rendering; empty if all texts are.

    Blanks around a text do not count: many templates trim them.
    """
    for message in conversation:
        if message["content"].strip() not in encoded.text:
            return message["role"]
    return ""


def is_lossy(encoded: Encoded, tokenizer: Any) -> bool:
    """Whether the tokens do not decode to the text that they were made of, blanks apart.

    The text may end behind the tokens (what follows the final EOS is cut) or before them (EOS was added).
    """
    kept = _squeezed(tokenizer.decode([*encoded.prompt_ids, *encoded.completion_ids]))
    text = _squeezed(encoded.text)
    return not (text.startswith(kept) or kept.startswith(text))


def _squeezed(text: str) -> str:
    return "".join(text.split())
