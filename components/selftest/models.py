"""Faults of models: each damages the copy of a clean policy that lies in `folder`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.selftest.table import SILENT_BUGS

TEMPLATE = "chat_template.jinja"


def _config(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def _template(folder: Path, body: str, *, end: str = "<|assistant|>") -> None:
    """A template of turns `body`, which a generation prompt `end` follows."""
    prompt = "{% if add_generation_prompt %}" + end + "{% endif %}" if end else ""
    text = "{% for message in messages %}" + body + "{% endfor %}" + prompt
    (folder / TEMPLATE).write_text(text, encoding="utf-8")


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@SILENT_BUGS.row(stage="base_model", rule="generation prompt")
def no_generation_prompt(folder: Path) -> None:
    """The template has no generation prompt: the header would be learned as part of every answer."""
    _template(folder, "<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}", end="")


@SILENT_BUGS.row(stage="base_model", rule="leaves out what the assistant says")
def template_without_answers(folder: Path) -> None:
    """The template does not write what the assistant says."""
    body = "<|{{ message['role'] }}|>{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}"
    _template(folder, body)


@SILENT_BUGS.row(stage="base_model", rule="writes a prompt differently")
def prompt_changes_once_answered(folder: Path) -> None:
    """The prompt is written differently once it has an answer: the mask would be off."""
    _template(folder, "<|{{ message['role'] }}|>{{ messages|length }} {{ message['content'] }}{{ eos_token }}")


@SILENT_BUGS.row(stage="base_model", rule="date of the day")
def template_reads_the_clock(folder: Path) -> None:
    """The template writes the date: tomorrow's tokens are others."""
    _template(folder, "{{ strftime_now('%d %b %Y') }}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}")


@SILENT_BUGS.row(stage="base_model", rule="draws random text")
def template_is_random(folder: Path) -> None:
    """The template draws lots."""
    _template(folder, "{{ [1, 2]|random }}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}")


@SILENT_BUGS.row(stage="base_model", rule="not Jinja")
def template_is_damaged(folder: Path) -> None:
    """The template is cut off."""
    (folder / TEMPLATE).write_text("{% for message in messages %}{{ message['con", encoding="utf-8")


@SILENT_BUGS.row(stage="base_model", rule="is empty")
def template_is_empty(folder: Path) -> None:
    """The template's file is empty."""
    (folder / TEMPLATE).write_text(" ", encoding="utf-8")


@SILENT_BUGS.row(stage="base_model", rule="Git LFS pointer")
def weights_are_a_pointer(folder: Path) -> None:
    """The weights are a pointer of Git LFS."""
    _weights(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@SILENT_BUGS.row(stage="base_model", rule="is cut short")
def half_a_file_of_weights(folder: Path) -> None:
    """The download of the weights broke off."""
    content = _weights(folder).read_bytes()
    _weights(folder).write_bytes(content[: len(content) // 2])


@SILENT_BUGS.row(stage="base_model", rule="not finite numbers")
def weights_not_a_number(folder: Path) -> None:
    """A weight is NaN: the learning rate would be blamed."""
    content = _weights(folder).read_bytes()
    _weights(folder).write_bytes(content[:-4] + b"\x00\x00\xc0\x7f")


@SILENT_BUGS.row(stage="base_model", rule="an adapter lies beside")
def adapter_beside_the_model(folder: Path) -> None:
    """An adapter lies beside the weights; nothing would apply it."""
    (folder / "adapter_config.json").write_text("{}")


@SILENT_BUGS.row(stage="base_model", rule="no tokenizer")
def no_tokenizer(folder: Path) -> None:
    """The tokenizer's files are missing."""
    for path in folder.glob("tokenizer*"):
        path.unlink()


@SILENT_BUGS.row(stage="base_model", rule="no EOS token")
def no_eos(folder: Path) -> None:
    """The tokenizer has no EOS token: no answer would end."""
    _config(folder, "tokenizer_config.json", eos_token=None)


@SILENT_BUGS.row(stage="base_model", rule="")
def longer_positions_than_trained(folder: Path) -> None:
    """The config promises more positions than the model was trained with."""
    _config(folder, max_position_embeddings=1 << 20)


@SILENT_BUGS.row(stage="base_model", rule="another shape than the config says")
def vocabulary_of_another_model(folder: Path) -> None:
    """The config says another vocabulary size than the weights have."""
    _config(folder, vocab_size=97)


@SILENT_BUGS.row(stage="base_model", rule="pad_token_id is no token")
def pad_is_no_token(folder: Path) -> None:
    """The padding token is beyond the vocabulary."""
    _config(folder, pad_token_id=1 << 20)


@SILENT_BUGS.row(stage="base_model", rule="describes no model")
def unknown_architecture(folder: Path) -> None:
    """The config names an architecture that nobody has."""
    _config(folder, model_type="no_such_model")


@SILENT_BUGS.row(stage="feedback_curation", rule="double_bos")
def doubled_bos(folder: Path) -> None:
    """The template writes BOS twice."""
    _config(folder, "tokenizer_config.json", bos_token="<|system|>")
    body = "{% if loop.first %}{{ bos_token }}{{ bos_token }}{% endif %}<|{{ message['role'] }}|>"
    _template(folder, body + "{{ message['content'] }}{{ eos_token }}")


@SILENT_BUGS.row(stage="feedback_curation", rule="written_twice")
def messages_written_twice(folder: Path) -> None:
    """The template writes every message twice."""
    _template(folder, "<|{{ message['role'] }}|>{{ message['content'] }} {{ message['content'] }}{{ eos_token }}")


@SILENT_BUGS.row(stage="feedback_curation", rule="")
def doubled_eos(folder: Path) -> None:
    """The template ends every turn twice."""
    _template(folder, "<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{{ eos_token }}")


@SILENT_BUGS.row(stage="base_model", rule="writes a prompt differently")
def messages_in_reverse(folder: Path) -> None:
    """The template writes the last message first, so that the answer stands before its question."""
    _template(folder, "<|{{ messages[-loop.index]['role'] }}|>{{ messages[-loop.index]['content'] }}{{ eos_token }}")
