"""What a row of tokens must be: one set of named rules for the gate of curation and for every reader of a data set.

The first broken rule names a row. Torch-free.
"""

from __future__ import annotations

from components.sequences.tokenize import Encoded

REMEDIES = {
    "template_refused": "Change the chat template, or leave such conversations out.",
    "left_out": "The chat template leaves out a message: mend the template, or leave out such records.",
    "written_twice": "The chat template writes a message more than once: mend the template.",
    "out_of_order": "The chat template changes the order of the messages: mend the template.",
    "role_lost": "Nothing tells who said what: give the model a chat template that does.",
    "forged_turn": "A text holds what the chat template writes between turns, so that one message reads as several: "
    "split it into messages, or take a template whose turns begin with control tokens.",
    "control_tokens": "A text spells a control token, which this tokenizer cannot write as plain text: clean the text.",
    "double_bos": "The chat template and the tokenizer both add BOS: remove one of them.",
    "inner_eos": "The chat template writes EOS within the answer's turn, before its end: fix the chat template.",
    "prefix_broken": "The tokens of the prompt change once it is answered: fix the chat template.",
    "no_trainable_token": "The prompt alone fills max_length, or the answer has no token: raise max_length.",
    "no_room_to_answer": "The model's positions end within the answer to a test prompt: lower max_new_tokens.",
    "lossy": "The tokens do not decode to the text: use a model whose tokenizer knows its characters.",
    "too_long": "The row is longer than max_length: raise it, or accept the loss with truncation: drop.",
}
"""The rules by name, and what to do about each."""


def fault(encoded: Encoded, max_length: int, longest_prompt: int | None = None) -> str:
    """The first rule that a row breaks; empty if none. `longest_prompt`: the limit of a prompt to be answered."""
    length = len(encoded.prompt_ids) + len(encoded.completion_ids)
    broken = {
        encoded.fault: bool(encoded.fault) and encoded.fault != "lossy",
        "double_bos": encoded.bos_count > 1,
        "inner_eos": encoded.eos_count > 1,
        "prefix_broken": not encoded.prefix_ok,
        "no_room_to_answer": longest_prompt is not None and len(encoded.prompt_ids) > longest_prompt,
        "no_trainable_token": len(encoded.prompt_ids) >= max_length or len(encoded.completion_ids) <= encoded.eos_count,
        "too_long": length > max_length,
        "lossy": encoded.fault == "lossy",
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), "")


def got(rule: str, encoded: Encoded, max_length: int, longest_prompt: int | None = None) -> str:
    """What was found instead of what a rule asks for, in a few words."""
    if rule == encoded.fault:
        return encoded.got
    if rule == "no_room_to_answer":
        return f"{len(encoded.prompt_ids)} tokens of the prompt, room for {longest_prompt}"
    return f"{len(encoded.prompt_ids)} + {len(encoded.completion_ids)} tokens, limit {max_length}"
