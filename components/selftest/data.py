"""Faults of feedback files: each takes the clean rows (`prompt`, `chosen`, `rejected`) and returns the file's text."""

from __future__ import annotations

import html
import json
from typing import Any

from components.selftest.table import SILENT_BUGS

Rows = list[dict[str, Any]]
BAD = 12
"""how many rows of the clean file are damaged, where a fault is one of single rows"""
FRUITS = ("pear", "fig", "plum", "quince", "mango", "lemon", "grape", "cherry")
THINGS = ("chair", "desk", "lamp", "spoon", "brick", "cable", "towel", "pencil")


def clean_rows(count: int = 120) -> Rows:
    """`count` rows in which a fruit is preferred to a thing; no two prompts are alike."""
    return [
        {
            "prompt": f"Case {i}: name a fruit.",
            "chosen": f"A {FRUITS[i % len(FRUITS)]}.",
            "rejected": f"A {THINGS[i % len(THINGS)]}.",
        }
        for i in range(count)
    ]


def as_text(rows: Rows) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _some(rows: Rows, **texts: str) -> str:
    """The rows, the first `BAD` of them with these values; `{}` stands for the old value."""
    changed = [{**row, **{name: text.replace("{}", row[name]) for name, text in texts.items()}} for row in rows[:BAD]]
    return as_text(changed + rows[BAD:])


@SILENT_BUGS.row(stage="human_feedback", rule="missing_value")
def missing_value_as_word(rows: Rows) -> str:
    """A missing answer was written as the word nan, and is preferred."""
    return _some(rows, chosen="nan")


@SILENT_BUGS.row(stage="feedback_curation", rule="word_for_missing")
def missing_value_as_none(rows: Rows) -> str:
    """A missing answer was written as the word None, and is preferred."""
    return _some(rows, chosen="None")


@SILENT_BUGS.row(stage="human_feedback", rule="candidate_not_empty")
def empty_answer(rows: Rows) -> str:
    """The preferred answer is empty."""
    return _some(rows, chosen="")


@SILENT_BUGS.row(stage="human_feedback", rule="candidate_not_empty")
def blank_answer(rows: Rows) -> str:
    """The rejected answer is nothing but blanks."""
    return _some(rows, rejected=" \n ")


@SILENT_BUGS.row(stage="human_feedback", rule="no_prompt")
def empty_prompt(rows: Rows) -> str:
    """The prompt is cut to nothing."""
    return _some(rows, prompt="")


@SILENT_BUGS.row(stage="human_feedback", rule="missing_column")
def null_answer(rows: Rows) -> str:
    """The preferred answer is null."""
    return as_text([{**row, "chosen": None} for row in rows[:BAD]] + rows[BAD:])


@SILENT_BUGS.row(stage="human_feedback", rule="wrong_type")
def number_for_answer(rows: Rows) -> str:
    """The preferred answer is a number: the columns were shifted."""
    return as_text([{**row, "chosen": 0.73} for row in rows[:BAD]] + rows[BAD:])


@SILENT_BUGS.row(stage="human_feedback", rule="missing_column")
def column_lost(rows: Rows) -> str:
    """Some rows have no rejected answer."""
    return as_text([{k: row[k] for k in ("prompt", "chosen")} for row in rows[:BAD]] + rows[BAD:])


@SILENT_BUGS.row(stage="human_feedback", rule="unknown_column")
def column_that_means_something(rows: Rows) -> str:
    """A column says which rows are wrong, under a name that the format does not know."""
    return as_text([{**row, "label": 0} for row in rows])


@SILENT_BUGS.row(stage="human_feedback", rule="json")
def key_given_twice(rows: Rows) -> str:
    """A row gives its preferred answer twice; the last one would win."""
    lines = as_text(rows).splitlines(keepends=True)
    return "".join(line.replace("{", '{"chosen": "A stone.", ', 1) for line in lines[:BAD]) + "".join(lines[BAD:])


@SILENT_BUGS.row(stage="human_feedback", rule="json")
def lines_cut_off(rows: Rows) -> str:
    """Lines end in their middle, as after a broken download."""
    lines = as_text(rows).splitlines()
    return "\n".join([line[:40] for line in lines[:BAD]] + lines[BAD:]) + "\n"


@SILENT_BUGS.row(stage="human_feedback", rule="json")
def not_a_finite_number(rows: Rows) -> str:
    """An answer is the bare NaN that some JSON writers emit."""
    lines = as_text(rows).splitlines()
    return "\n".join(['{"prompt": "p", "chosen": NaN, "rejected": "r"}'] * BAD + lines) + "\n"


@SILENT_BUGS.row(stage="human_feedback", rule="is UTF-16")
def utf_16(rows: Rows) -> bytes:
    """The file was saved as UTF-16."""
    return as_text(rows).encode("utf-16")


@SILENT_BUGS.row(stage="human_feedback", rule="utf8")
def latin_1(rows: Rows) -> bytes:
    """Rows were saved as Latin-1."""
    return _some(rows, chosen="{} Déjà vu.").encode("latin-1")


@SILENT_BUGS.row(stage="human_feedback", rule="prompts_differ")
def chosen_and_rejected_of_different_prompts(rows: Rows) -> str:
    """Whole chats whose two sides begin with different questions."""

    def chat(asked: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]

    made = []
    for i, row in enumerate(rows):
        other = rows[(i + 1) % len(rows)]["prompt"] if i < BAD else row["prompt"]
        made.append({"chosen": chat(row["prompt"], row["chosen"]), "rejected": chat(other, row["rejected"])})
    return as_text(made)


@SILENT_BUGS.row(stage="human_feedback", rule="last_turn_not_assistant")
def chats_that_end_with_the_user(rows: Rows) -> str:
    """Chats without their answers: the question would be trained as the answer."""
    made = []
    for i, row in enumerate(rows):
        asked = [{"role": "user", "content": row["prompt"]}]
        sides = {side: [*asked, {"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
        made.append({side: [*chat, *asked] if i < BAD else chat for side, chat in sides.items()})
    return as_text(made)


@SILENT_BUGS.row(stage="feedback_curation", rule="prompt_repeated")
def prompt_repeated_in_answers(rows: Rows) -> str:
    """Both answers begin with the whole prompt: prompts would be trained as answers."""
    return as_text([{**row, **{k: f"{row['prompt']} {row[k]}" for k in ("chosen", "rejected")}} for row in rows])


@SILENT_BUGS.row(stage="feedback_curation", rule="role_tokens")
def template_already_applied(rows: Rows) -> str:
    """Prompts were rendered as ChatML before: they would be rendered twice."""
    return _some(rows, prompt="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n")


@SILENT_BUGS.row(stage="feedback_curation", rule="role_tokens")
def llama_template_already_applied(rows: Rows) -> str:
    """Prompts were rendered with the template of another model."""
    return _some(rows, prompt="[INST] {} [/INST]")


@SILENT_BUGS.row(stage="feedback_curation", rule="role_tokens")
def turns_forged_in_the_prompt(rows: Rows) -> str:
    """A prompt spells the markers of further turns."""
    return _some(rows, prompt="{}\n\nAssistant: A stone.\n\nHuman: And now?")


@SILENT_BUGS.row(stage="feedback_curation", rule="role_tokens")
def answer_goes_on_as_the_user(rows: Rows) -> str:
    """The answer was not stopped at its end: it speaks for the user, too."""
    return _some(rows, chosen="{}\n\nHuman: Name another one.")


@SILENT_BUGS.row(stage="feedback_curation", rule="role_tokens")
def eos_as_text(rows: Rows) -> str:
    """Answers end with EOS as text: it would stand there twice, or cut the rest off."""
    return _some(rows, chosen="{}</s> It grows on trees.")


@SILENT_BUGS.row(stage="feedback_curation", rule="control_characters")
def control_characters(rows: Rows) -> str:
    """Answers hold terminal escapes."""
    return _some(rows, chosen="\x1b[1m{}\x1b[0m")


@SILENT_BUGS.row(stage="feedback_curation", rule="direction_overrides")
def direction_overrides(rows: Rows) -> str:
    """What people saw is in another order than the characters."""
    return _some(rows, chosen="\u202e{}")


@SILENT_BUGS.row(stage="feedback_curation", rule="invisible_characters")
def invisible_characters(rows: Rows) -> str:
    """Answers carry characters without width, by which they can be told apart."""
    return _some(rows, chosen="{}\u200b")


@SILENT_BUGS.row(stage="feedback_curation", rule="replacement_characters")
def replacement_characters(rows: Rows) -> str:
    """Texts were read in a wrong encoding once."""
    return _some(rows, chosen="{} D\ufffdj\ufffd vu.")


@SILENT_BUGS.row(stage="feedback_curation", rule="too_long")
def answer_beyond_the_limit(rows: Rows) -> str:
    """Answers are longer than what the model can read: their ends would be cut off."""
    return _some(rows, chosen="{} " * 900)


@SILENT_BUGS.row(stage="feedback_curation", rule="no_trainable_token")
def prompt_that_fills_the_limit(rows: Rows) -> str:
    """The prompt leaves no room for the answer: nothing of it would be trained."""
    return _some(rows, prompt="{} " * 900)


@SILENT_BUGS.row(stage="feedback_curation", rule="n_duplicates")
def rows_given_twice(rows: Rows) -> str:
    """The file was appended to itself."""
    return as_text(rows + rows)


@SILENT_BUGS.row(stage="feedback_curation", rule="ties")
def votes_that_contradict(rows: Rows) -> str:
    """Every comparison stands there a second time with its sides swapped."""
    return as_text(rows + [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[:BAD]])


@SILENT_BUGS.row(stage="human_feedback", rule="identical_candidates_tie")
def both_answers_are_the_same(rows: Rows) -> str:
    """Chosen and rejected are one text: there is nothing to learn."""
    return as_text([{**row, "rejected": row["chosen"]} if i < BAD else row for i, row in enumerate(rows)])


@SILENT_BUGS.row(stage="human_feedback", rule="have the same prompt")
def one_prompt_for_all(rows: Rows) -> str:
    """All rows have the same prompt: the column is a constant."""
    return as_text([{**row, "prompt": "Name a fruit."} for row in rows])


@SILENT_BUGS.row(stage="feedback_curation", rule="")
def sides_swapped(rows: Rows) -> str:
    """Chosen and rejected are exchanged in the whole file."""
    return as_text([{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows])


@SILENT_BUGS.row(stage="feedback_curation", rule="")
def answers_of_other_prompts(rows: Rows) -> str:
    """The answers are shifted by one row against the prompts."""
    return as_text([{**row, "prompt": rows[i - 1]["prompt"]} for i, row in enumerate(rows)])


@SILENT_BUGS.row(stage="feedback_curation", rule="")
def escaped_for_html(rows: Rows) -> str:
    """Texts went through an HTML escape."""
    return as_text([{**row, "chosen": html.escape(f'{row["chosen"]} It\'s "ripe".')} for row in rows])


@SILENT_BUGS.row(stage="feedback_curation", rule="")
def length_decides(rows: Rows) -> str:
    """The longer answer is preferred in every row: length is learned, not what was meant."""
    return as_text([{**row, "chosen": f"{row['chosen']} It grows on a tree and can be eaten."} for row in rows])
