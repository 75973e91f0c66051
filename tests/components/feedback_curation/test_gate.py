"""The token gate finds every fault a row can have, and cuts nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import normalizers

from components.errors import DataError
from components.feedback_curation.gate import gate, length_summary, refuse_long
from components.feedback_curation.params import Tokens
from components.sequences.rules import REMEDIES, fault
from components.sequences.tokenize import Encoded, encode_pair, encode_prompt
from tests.components.records.samples import pair
from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer


def encoded(prompt: int = 3, completion: int = 3, *, prefix_ok: bool = True, bos: int = 1, eos: int = 1) -> Encoded:
    return Encoded([7] * prompt, [8] * completion, prefix_ok, bos, eos, 0)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (encoded(), ""),
        (encoded(bos=0), ""),
        (encoded(5, 5), ""),
        (encoded(bos=2), "double_bos"),
        (encoded(eos=2), "inner_eos"),
        (encoded(prefix_ok=False), "prefix_broken"),
        (encoded(10, 3), "no_trainable_token"),
        (encoded(3, 1), "no_trainable_token"),
        (encoded(5, 6), "too_long"),
    ],
)
def test_each_fault_has_its_rule_and_remedy(row: Encoded, rule: str) -> None:
    """The limit is 10 tokens: 5 + 5 fit, 5 + 6 do not, a prompt of 10 leaves no room, 1 token is the EOS alone."""
    assert fault(row, 10) == rule
    assert not rule or rule in REMEDIES


def splits(**texts: str) -> dict[str, list[dict[str, Any]]]:
    return {name: [pair(texts=(text, "A fox."), prompt="The dog?")] for name, text in texts.items()}


def rules(found: Any) -> list[str]:
    return [row["rule"] for row in found.quarantine]


def test_good_rows_pass_with_their_lengths() -> None:
    tokenizer = tiny_tokenizer()
    found = gate(splits(train="A dog.", test="The quick brown fox."), tokenizer, 100)
    assert (rules(found), [len(found.records[name]) for name in ("train", "test")]) == ([], [1, 1])
    prompt = [{"role": "user", "content": "The dog?"}]
    expected = [len(encode_pair(tokenizer, prompt, text).row) for text in ("A dog.", "A fox.")]
    assert found.lengths["train"] == expected


def test_a_long_row_is_quarantined_whole_and_counted_in_its_split() -> None:
    found = gate(splits(train="A dog.", validation="fox " * 100, test="A dog."), tiny_tokenizer(), 60)
    assert (rules(found), found.by_rule["validation"]) == (["too_long"], {"too_long": 1})
    assert found.records["validation"] == []
    assert "validation" in found.quarantine[0]["file"]
    assert max(found.lengths["validation"]) > 60


def test_truncation_error_refuses_and_names_the_longest() -> None:
    found = gate(splits(train="fox " * 100), tiny_tokenizer(), 60)
    refuse_long(found, Tokens(truncation="drop"), 60)
    with pytest.raises(
        DataError, match=rf"1 records do not fit in max_length 60 \(got up to {max(found.lengths['train'])}"
    ):
        refuse_long(found, Tokens(truncation="error"), 60)


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{ bos_token }}" + CHAT_TEMPLATE, "double_bos"),
        (CHAT_TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|>So {% endif"), "prefix_broken"),
        ("{{ raise_exception('roles must alternate') }}", "template_refused"),
    ],
)
def test_a_faulty_template_is_found(template: str, rule: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    found = gate(splits(train="A dog."), tokenizer, 100)
    assert rules(found) == [rule]


def test_what_texts_spell_and_lose_is_kept_and_counted() -> None:
    """An EOS as text in an answer stays text; a template that trims takes blanks away."""
    assert gate(splits(train="A <eos> dog."), tiny_tokenizer(), 100).kept == {"spelled": 1}
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
    found = gate(splits(train=" A dog."), tokenizer, 100)
    assert (rules(found), found.kept) == ([], {"trimmed": 1})


def test_a_message_that_the_template_leaves_out_is_found_and_its_role_named() -> None:
    parts = splits(train="A dog.")
    parts["train"][0]["task"]["system"] = "Answer in French."
    assert rules(gate(parts, tiny_tokenizer(), 100)) == []
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("in messages", "in messages if message.role != 'system'")
    found = gate(parts, tokenizer, 100)
    assert rules(found) == ["left_out"]
    assert "no text of message 1 (system) in the rendering" in found.quarantine[0]["reason"]


def test_a_text_that_its_tokens_do_not_decode_to_is_found() -> None:
    """Lower case is all that this tokenizer keeps; blanks around a text, which templates trim, are no loss."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    parts = {
        "train": [pair(texts=("a dog", "A dog"), prompt="which?"), pair(texts=(" a dog ", "a fox"), prompt="what?")]
    }
    assert rules(gate(parts, tokenizer, 100)) == ["lossy"]
    assert rules(gate(parts, tiny_tokenizer(), 100)) == []


def test_media_pass_unseen_and_are_counted() -> None:
    parts = splits(train="A dog.")
    parts["train"][0]["candidates"][0]["parts"] = [{"type": "image", "uri": "x.png"}]
    found = gate(parts, tiny_tokenizer(), 100)
    assert (len(found.records["train"]), found.not_text["train"]) == (1, 1)


def test_a_test_prompt_leaves_room_for_its_answer_and_no_other_prompt_has_to() -> None:
    """Within its own length it passes, within one token less it does not; training prompts are not answered."""
    parts = splits(train="A dog.", validation="A dog.", test="A dog.")
    longest = len(encode_prompt(tiny_tokenizer(), [{"role": "user", "content": "The dog?"}]))
    assert rules(gate(parts, tiny_tokenizer(), 100, longest)) == []
    found = gate(parts, tiny_tokenizer(), 100, longest - 1)
    assert rules(found) == ["no_room_to_answer"]
    assert found.by_rule["test"] == {"no_room_to_answer": 1}
    assert f"(got {longest} tokens of the prompt, room for {longest - 1})" in found.quarantine[0]["reason"]


def test_length_quantiles_by_nearest_rank() -> None:
    summary = {"rows": 100, "p50": 50, "p90": 90, "p99": 99, "max": 100, "total": 5050}
    assert length_summary(list(range(1, 101))) == summary
    assert length_summary([3, 1]) == {"rows": 2, "p50": 1, "p90": 3, "p99": 3, "max": 3, "total": 4}
    assert length_summary([5]) == {"rows": 1, "p50": 5, "p90": 5, "p99": 5, "max": 5, "total": 5}
    assert length_summary([]) == {"rows": 0}
