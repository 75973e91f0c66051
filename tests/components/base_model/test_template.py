"""A chat template that loses text, changes by the day, or hides where an answer begins is refused in base_model."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from components.base_model.template import check_template, settle_template, system_message, turn_end
from components.errors import ArtifactError, ParamsError
from components.training.params import Compute
from components.training.runtime import load_policy
from tests.components.base_model.brought import CHATML, bring, change_json, source
from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer

HERE = Path("model")


def with_template(template: Any, **tokens: Any) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    for name, value in tokens.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_good_templates_pass() -> None:
    for template in (CHAT_TEMPLATE, CHATML):
        tokenizer = with_template(template)
        settle_template(tokenizer, HERE, "")
        check_template(tokenizer, HERE)
        assert tokenizer.chat_template == template
    bare = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
    )
    check_template(with_template(bare), HERE)  # no header before the answer: no generation prompt is needed


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("chatml", r"leaves out what the user says \(got 'chatml'"),
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
            "leaves out what the assistant says",
        ),
        (CHATML.replace("{{ m['content'] }}", "{% for p in m.content %}{{ p.text }}{% endfor %}"), "leaves out what"),
        (CHATML.replace("m['content']", "m['content'] | lower"), "leaves out what the user says"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no generation prompt"),
        (CHATML.replace("assistant\n", "assistant\n<think>\n"), "a prompt differently once it is answered"),
        (CHATML.replace("|>assistant", "|>Assistant"), "a prompt differently once it is answered"),
        ("{{ raise_exception('no chat today') }}", r"fails on a plain conversation of user \(got no chat today\)"),
        ("{% for m in messages %}{{ m.content }}", "fails on a plain conversation"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "fails on a plain conversation"),
    ],
)
def test_templates_that_go_wrong_on_a_plain_conversation_are_refused(template: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=f"model: the chat template .*{message}"):
        check_template(with_template(template), HERE)


def test_templates_with_names_need_one_that_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none of its chat templates is the default \(got rag, tool_use\)"):
        settle_template(with_template({"tool_use": CHATML, "rag": CHATML}), HERE, "")
    tokenizer = with_template({"default": CHATML, "rag": "x"})
    settle_template(tokenizer, HERE, "")
    assert tokenizer.chat_template == CHATML
    folder = source(tmp_path)  # the same as a list in the tokenizer's config, as it is published
    (folder / "chat_template.jinja").unlink()
    change_json(folder / "tokenizer_config.json", chat_template=[{"name": "rag", "template": CHATML}])
    with pytest.raises(
        ArtifactError, match=r"none of its chat templates is the default \(got rag\).*chat_template.jinja"
    ):
        bring(folder, tmp_path / "policy")


def test_named_templates_in_files_of_their_own(tmp_path: Path) -> None:
    folder = source(tmp_path)
    (folder / "additional_chat_templates").mkdir()
    (folder / "chat_template.jinja").rename(folder / "additional_chat_templates/rag.jinja")
    with pytest.raises(ArtifactError, match=r"none of its chat templates is the default \(got rag\)"):
        bring(folder, tmp_path / "policy")


def test_a_template_that_only_processors_read_is_told(tmp_path: Path) -> None:
    folder = source(tmp_path)
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text('{"chat_template": "x"}')
    with pytest.raises(ArtifactError, match=r"where only processors look \(got chat_template.json\)"):
        bring(folder, tmp_path / "policy")


def test_empty_and_broken_templates_are_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the chat template is empty"):
        settle_template(with_template("  \n"), HERE, "")
    with pytest.raises(ArtifactError, match="the chat template is not Jinja"):
        settle_template(with_template("{% for m in messages %}{{ m.content }"), HERE, "")
    folder = source(tmp_path)
    (folder / "chat_template.jinja").write_text("")
    with pytest.raises(ArtifactError, match=r"chat_template.jinja: is empty"):
        bring(folder, tmp_path / "policy")


LLAMA = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}'
    "{%- endif %}{%- endif %}{{ date_string }}\n"
)


@pytest.mark.parametrize(
    ("clock", "text"),
    [
        ("{{ strftime_now('%Y-%m-%d') }}\n", "2025-01-31\n"),
        (LLAMA, "31 Jan 2025\n"),
        ("{{ strftime_now( '%A' ) }} ", "Friday "),
    ],
)
def test_the_date_of_the_day_is_refused_or_a_parameter(clock: str, text: str) -> None:
    tokenizer = with_template(clock + CHATML)
    with pytest.raises(ParamsError, match=r"Set base_model.date to the day"):
        settle_template(tokenizer, HERE, "")
    settle_template(tokenizer, HERE, "2025-01-31")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert rendered == text + "<|im_start|>user\nhi<|im_end|>\n"
    assert datetime.date(2025, 1, 31).strftime("%A") == "Friday"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% set f = '%d' %}{{ strftime_now(f) }}", "in a way that no date can be put into"),
        ("{{ ['a', 'b'] | random }}", r"draws random text \(got lipsum or random\)"),
        ("{{ lipsum(1) }}", "draws random text"),
    ],
)
def test_what_cannot_be_fixed_to_a_day_is_refused(template: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        settle_template(with_template(template + CHATML), HERE, "2025-01-31")


def test_a_name_in_plain_text_is_no_clock() -> None:
    settle_template(with_template("strftime_now and random lipsum\n" + CHATML), HERE, "")


def test_a_template_that_writes_a_missing_bos_is_refused_unless_it_asks() -> None:
    with pytest.raises(ArtifactError, match=r"begins with bos_token, which the tokenizer does not have.*Set bos_token"):
        check_template(with_template("{{ bos_token }}" + CHATML, bos_token=None), HERE)
    check_template(with_template("{% if bos_token %}{{ bos_token }}{% endif %}" + CHATML, bos_token=None), HERE)
    check_template(with_template("{{ bos_token }}" + CHATML), HERE)


def test_what_becomes_of_a_system_message_is_known() -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML
    drops = CHATML.replace("in messages", "in messages if m.role != 'system'")
    found = [system_message(with_template(template), HERE) for template in (CHATML, refuses, drops)]
    assert found == ["written", "refused", "left out"]


def test_the_end_of_a_turn_is_the_first_control_token_after_the_answer() -> None:
    """<eos> and newline of the tests' own template; none where a turn ends in words; the first of two."""
    tokenizer = tiny_tokenizer()
    assert turn_end(tokenizer, HERE) == tokenizer.eos_token_id
    assert turn_end(with_template("{% for m in messages %}{{ m.content }}\n### End\n{% endfor %}"), HERE) is None
    two = "{% for m in messages %}{{ m.content }}\n<|user|><eos>{% endfor %}"
    assert turn_end(with_template(two), HERE) == tokenizer.convert_tokens_to_ids("<|user|>")


def test_the_end_of_a_turn_becomes_eos_and_the_former_eos_still_stops(tmp_path: Path) -> None:
    folder = source(tmp_path)
    template = (folder / "chat_template.jinja").read_text().replace("{{ eos_token }}", "<|system|>")
    (folder / "chat_template.jinja").write_text(template)
    metrics = bring(folder, tmp_path / "policy").metrics
    model, tokenizer = load_policy(tmp_path / "policy", Compute(threads=1))
    assert (metrics["eos_token_was"], metrics["eos_token"], tokenizer.eos_token) == (
        "<eos>",
        "<|system|>",
        "<|system|>",
    )
    ids = tokenizer.convert_tokens_to_ids(["<eos>", "<|system|>"])
    assert sorted(model.generation_config.eos_token_id) == sorted(ids)
