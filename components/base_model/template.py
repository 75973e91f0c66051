"""The chat template of a released model: it says everything, the same every day, and leaves the answer to the model.

A template is a program. It is tried on one short conversation; what it does to the records is the business of the
token gate in feedback_curation.
"""

from __future__ import annotations

import datetime
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError

from components.errors import ArtifactError, ParamsError, first_line
from components.sequences.template import TEMPLATE_FAILURES

QUESTION, ANSWER, ORDER = "Which is it, 7 pears or 3 plums?", "It is 3 plums, I think.", "Name 2 kinds of fruit only."
CLOCK = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")


def settle_template(tokenizer: Any, folder: Path, date: str) -> None:
    """Leave `tokenizer` with one chat template, or with none if the model has none.

    A template that reads the clock gets `date` written in. Raises ArtifactError if no template is the default one or
    if it is empty, ParamsError if a date is needed.
    """
    found = tokenizer.chat_template
    if isinstance(found, dict):
        if "default" not in found:
            raise ArtifactError(
                f"{folder}: none of its chat templates is the default (got {', '.join(sorted(found))}). Save the one "
                "to use as chat_template.jinja, and take out the others."
            )
        found = found["default"]
    if found is None and (folder / "chat_template.json").exists():
        raise ArtifactError(
            f"{folder}: its chat template is where only processors look (got chat_template.json). Save the text in it "
            "as chat_template.jinja."
        )
    if found is not None and not str(found).strip():
        raise ArtifactError(f"{folder}: the chat template is empty (got {found!r}). Fetch it again, or take it out.")
    tokenizer.chat_template = None if found is None else _without_clock(str(found), folder, date)


def _without_clock(template: str, folder: Path, date: str) -> str:
    """The template with `date` in place of the clock; as it is if it does not read one."""
    try:
        words = [value for _, _, value in Environment(autoescape=True).lex(template) if value.strip()]
    except TemplateError as error:
        raise ArtifactError(f"{folder}: the chat template is not Jinja (got {first_line(error)}). Mend it.") from error
    if "lipsum" in words or "random" in [name for bar, name in pairwise(words) if bar == "|"]:
        raise ArtifactError(
            f"{folder}: the chat template draws random text (got lipsum or random). Take it out: the same conversation "
            "must become the same tokens every time."
        )
    if "strftime_now" not in words:
        return template
    if not date:
        raise ParamsError(
            f"{folder}: the chat template writes the date of the day (got strftime_now), so that tomorrow's tokens "
            "would be others. Set base_model.date to the day that it is to write, for example 2025-01-31."
        )
    day = datetime.date.fromisoformat(date)
    settled = CLOCK.sub(lambda call: repr(day.strftime(call[2])), template)
    if "strftime_now(" in settled:
        raise ArtifactError(
            f"{folder}: the chat template reads the clock in a way that no date can be put into (got strftime_now with "
            "a computed format). Write the format as text in the template."
        )
    return settled


def check_template(tokenizer: Any, folder: Path) -> None:
    """Try the template on a question and its answer. Raises ArtifactError if training on it would go wrong."""
    asked = [{"role": "user", "content": QUESTION}]
    prompt, bare = _render(tokenizer, asked, True, folder), _render(tokenizer, asked, False, folder)
    whole = _render(tokenizer, _answered(), False, folder)
    for who, text, rendering in (("user", QUESTION, prompt), ("assistant", ANSWER, whole)):
        if text not in rendering:
            raise ArtifactError(
                f"{folder}: the chat template leaves out what the {who} says (got {rendering[:60]!r} for {text!r}). "
                "Take a template that writes message['content'] as text."
            )
    if not whole.startswith(prompt):
        raise ArtifactError(
            f"{folder}: the chat template writes a prompt differently once it is answered (got {prompt[-40:]!r} at the "
            f"end of the prompt). Change it so that the answered conversation begins with the prompt."
        )
    header = whole[len(prompt) : whole.index(ANSWER, len(prompt))]
    if prompt == bare and header.strip():
        raise ArtifactError(
            f"{folder}: the chat template has no generation prompt (got {header!r} before the answer only), so the "
            "model would have to learn it as part of every answer. Add {% if add_generation_prompt %}"
            f"{header}{{% endif %}} at its end."
        )
    if "bos_token" in tokenizer.chat_template and tokenizer.bos_token is None and not _guarded(tokenizer.chat_template):
        raise ArtifactError(
            f"{folder}: the chat template begins with bos_token, which the tokenizer does not have (got none). Set "
            "bos_token in tokenizer_config.json, or take it out of the template."
        )


def _guarded(template: str) -> bool:
    """Whether the template asks if there is a BOS token before it writes it."""
    return re.search(r"\b(if|and|or|not)\s+\(?\s*bos_token", template) is not None


def system_message(tokenizer: Any, folder: Path) -> str:
    """What the template does with a system message: `written`, `left out` or `refused`."""
    try:
        text = _render(tokenizer, [{"role": "system", "content": ORDER}, *_answered()], False, folder)
    except ArtifactError:
        return "refused"
    return "written" if ORDER in text else "left out"


def turn_end(tokenizer: Any, folder: Path) -> int | None:
    """The first control token after an answer: what the model says to end its turn. None if it is ordinary text."""
    whole = _render(tokenizer, _answered(), False, folder)
    tail = whole[whole.index(ANSWER) + len(ANSWER) :]
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    return next((token for token in ids if token in control_tokens(tokenizer)), None)


def control_tokens(tokenizer: Any) -> set[int]:
    """Ids that no ordinary text becomes."""
    return {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}


def _answered() -> list[dict[str, str]]:
    return [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]


def _render(tokenizer: Any, messages: list[dict[str, str]], generate: bool, folder: Path) -> str:
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
    except TEMPLATE_FAILURES as error:
        roles = " and ".join(message["role"] for message in messages)
        raise ArtifactError(
            f"{folder}: the chat template fails on a plain conversation of {roles} (got {first_line(error)}). Mend the "
            "template, or take a model with another."
        ) from error
    return text
