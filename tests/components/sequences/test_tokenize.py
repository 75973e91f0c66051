"""One BOS, one EOS, prompt a prefix of the whole, nothing after the final EOS, nothing truncated."""

from __future__ import annotations

from tokenizers import processors

from components.sequences.tokenize import encode_pair, encode_prompt
from tests.tiny import tiny_tokenizer

QUESTION = [{"role": "user", "content": "which dog?"}]


def test_chat_template_gives_one_bos_one_eos_and_a_prefix() -> None:
    tokenizer = tiny_tokenizer()
    encoded = encode_pair(tokenizer, QUESTION, "the lazy dog")
    assert encoded.prefix_ok
    assert encoded.bos_count == encoded.eos_count == 1
    assert encoded.prompt_ids == encode_prompt(tokenizer, QUESTION)
    assert tokenizer.decode(encoded.prompt_ids) == "<bos><|user|>which dog?<eos>\n<|assistant|>"
    assert tokenizer.decode(encoded.completion_ids) == "the lazy dog<eos>"


def test_newline_that_the_template_writes_after_the_final_eos_is_cut_and_counted() -> None:
    encoded = encode_pair(tiny_tokenizer(), QUESTION, "a fox")
    assert encoded.cut == 1
    assert encoded.completion_ids[-1] == tiny_tokenizer().eos_token_id


def test_eos_is_added_where_the_template_writes_none() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}|{% endfor %}"
    encoded = encode_pair(tokenizer, QUESTION, "a fox")
    assert tokenizer.decode(encoded.completion_ids) == "a fox|<eos>"
    assert (encoded.cut, encoded.eos_count) == (0, 1)


def test_without_a_template_prompt_completion_and_eos_are_joined() -> None:
    tokenizer = tiny_tokenizer(chat_template=False)
    messages = [{"role": "system", "content": "be short"}, *QUESTION]
    encoded = encode_pair(tokenizer, messages, " the dog")
    assert tokenizer.decode(encoded.prompt_ids) == "be short\nwhich dog?"
    assert tokenizer.decode(encoded.completion_ids) == " the dog<eos>"
    assert encoded.prefix_ok


def test_a_tokenizer_that_adds_its_own_bos_and_eos_doubles_neither() -> None:
    for chat_template in (True, False):
        tokenizer = tiny_tokenizer(chat_template=chat_template)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
        )
        assert tokenizer("a")["input_ids"][0] == 1
        assert tokenizer("a")["input_ids"][-1] == 2
        encoded = encode_pair(tokenizer, QUESTION, "the dog")
        assert (encoded.bos_count, encoded.eos_count) == (1, 1)
        assert encoded.prompt_ids[0] == tokenizer.bos_token_id


def test_a_template_with_two_bos_is_counted() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert encode_pair(tokenizer, QUESTION, "the dog").bos_count == 2


def test_eos_as_text_in_a_completion_stays_text() -> None:
    tokenizer = tiny_tokenizer()
    encoded = encode_pair(tokenizer, QUESTION, "the<eos>dog")
    assert tokenizer.decode(encoded.completion_ids) == "the<eos>dog<eos>"
    assert (encoded.eos_count, encoded.spelled, encoded.fault) == (1, 1, "")


def test_a_merge_across_the_boundary_breaks_the_prefix_and_says_so() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    encoded = encode_pair(tokenizer, [{"role": "user", "content": "the d"}], "og")
    assert tokenizer("the dog")["input_ids"][: len(encoded.prompt_ids)] != encoded.prompt_ids
    assert not encoded.prefix_ok
    assert tokenizer.decode(encoded.completion_ids) == "og<eos>"


def test_a_template_that_rewrites_the_prompt_once_answered_breaks_the_prefix() -> None:
    tokenizer = tiny_tokenizer()
    start = "{% if add_generation_prompt %}think {% endif %}"
    tokenizer.chat_template = start + "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    encoded = encode_pair(tokenizer, QUESTION, "the dog")
    assert not encoded.prefix_ok
    assert encoded.eos_count == 1


def test_pad_and_eos_may_share_an_id() -> None:
    shared, own = tiny_tokenizer(pad_is_eos=True), tiny_tokenizer()
    assert encode_pair(shared, QUESTION, "the dog") == encode_pair(own, QUESTION, "the dog")


def test_long_texts_are_never_truncated() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 8
    encoded = encode_pair(tokenizer, QUESTION, "dog " * 500)
    assert tokenizer.decode(encoded.completion_ids) == "dog " * 500 + "<eos>"
