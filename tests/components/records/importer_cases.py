"""One case per importer: rows that become records, and every way in which a row can be bad with the rule it breaks."""

from __future__ import annotations

from typing import Any

from tests.components.records.samples import pair

U, A = "\n\nHuman: ", "\n\nAssistant: "
HH = [
    {"chosen": f"{U}Hi{A}Hello!", "rejected": f"{U}Hi{A}Go away."},
    {"chosen": f"{U}One?{A}1.{U}Two?{A}2.", "rejected": f"{U}One?{A}1.{U}Two?{A}3."},
    {"chosen": f"{U}Spaces?{A} yes \n", "rejected": f"{U}Spaces?{A}no"},
]
TRL = [
    {"prompt": "Hi", "chosen": "Hello!", "rejected": "Go away."},
    {"prompt": "One?", "chosen": " 1", "rejected": " 2"},
    {"prompt": "Two?", "chosen": "2", "rejected": "3"},
]
VOTES: list[dict[str, Any]] = [
    {
        "prompt": "Hi",
        "response_a": "Hello!",
        "response_b": "Go.",
        "annotator": "x",
        "choice": "a",
        "shown_first": "b",
        "duration_ms": 900,
    },
    {
        "prompt": "Hi",
        "response_a": "Hello!",
        "response_b": "Go.",
        "annotator": "y",
        "choice": "tie",
        "shown_first": "a",
        "duration_ms": 5,
    },
    {
        "prompt": "Hi",
        "response_a": "Hello!",
        "response_b": "Go.",
        "annotator": "z",
        "choice": "b",
        "strength": 2,
        "strength_scale": [0, 3],
    },
]

POST: dict[str, Any] = {
    "post_id": "p1",
    "domain": "askcooking",
    "upvote_ratio": 0.9,
    "history": "How long do I boil an egg?",
    "c_root_id_A": "c1",
    "c_root_id_B": "c2",
    "created_at_utc_A": 1000,
    "created_at_utc_B": 1060,
    "human_ref_A": "Nine minutes.",
    "human_ref_B": "Until it is done.",
    "score_A": 4,
    "score_B": 10,
    "labels": 0,  # 1 is A, 0 is B
    "score_ratio": 2.5,
    "seconds_difference": 60.0,  # the preferred comment came this much later
}
SHP: list[dict[str, Any]] = [
    POST,
    POST | {"labels": 1, "score_A": 60, "score_B": 3, "score_ratio": 20.0, "created_at_utc_A": 1120},
    {k: v for k, v in POST.items() if not k.startswith(("c_root", "created", "post_id", "domain", "upvote"))},
]


def chat(*turns: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


SHAREGPT: list[dict[str, Any]] = [
    {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Yes?"},
            {"from": "human", "value": q},
        ],
        "chosen": {"from": "gpt", "value": f"{q} Good."},
        "rejected": {"from": "gpt", "value": "No."},
        "system": "Be brief.",
    }
    for q in ("One?", "Two?")
]
KTO: list[dict[str, Any]] = [
    {"prompt": "Hi", "completion": "Hello!", "label": True},
    {"prompt": chat("Hi"), "completion": chat("Hi", "Go away.")[1:], "label": False},
]

GOOD: dict[str, list[dict[str, Any]]] = {
    "hh": HH,
    "trl": TRL,
    "labels": VOTES,
    "records": [pair(), pair("b")],
    "shp": SHP,
    "sharegpt": SHAREGPT,
    "kto": KTO,
}

NO_END = "今天的天气怎么样我想知道一下今天"
BAD_ROWS: list[tuple[str, Any, str, str]] = [
    ("hh", {"chosen": HH[0]["chosen"]}, "missing_column", "rejected"),
    ("hh", {**HH[0], "system": "Be brief."}, "unknown_column", "system"),  # the model would see it
    ("hh", {**HH[0], "promt": "Hi"}, "unknown_column", "promt"),  # nearly a column
    ("hh", {**HH[0], "chosen": 3}, "wrong_type", "chosen"),
    ("hh", {**HH[0], "rejected": HH[0]["chosen"]}, "identical_candidates_tie", "chosen"),
    ("hh", {"chosen": f"{U}Hi{A}Yes", "rejected": f"{U}Ho{A}No"}, "prompts_differ", "chosen"),
    ("hh", {"chosen": f"{U}Hi{A}Yes{U}On{A}x", "rejected": f"{U}Hi{A}No"}, "prompts_differ", "chosen"),
    ("hh", {**HH[0], "rejected": f"{U}Hi{A}Hello!{U}Why?"}, "last_turn_not_assistant", "rejected"),
    ("hh", {**HH[0], "rejected": f"{U}Hi{A} \n"}, "candidate_not_empty", "rejected"),
    ("hh", {**HH[0], "chosen": f"Note{U}Hi{A}Hello!"}, "wrong_value", "chosen"),
    ("hh", {"chosen": f"{U}{A}Yes", "rejected": f"{U}{A}No"}, "prompt_not_empty", "task.messages[0]"),
    ("trl", {"prompt": "Hi", "chosen": "x"}, "missing_column", "rejected"),
    ("trl", {**TRL[0], "prompt": " "}, "no_prompt", "prompt"),
    ("trl", {**TRL[0], "chosen": ""}, "candidate_not_empty", "chosen"),
    ("trl", {**TRL[0], "chosen": None}, "missing_column", "chosen"),
    ("trl", {**TRL[0], "chosen": 3}, "wrong_type", "chosen"),
    ("trl", {**TRL[0], "prompt": None}, "no_prompt", "prompt"),  # missing, not implicit
    ("trl", {**TRL[0], "rejected": "nan"}, "missing_value", "rejected"),
    ("trl", {"chosen": "<|im_start|>user\nHi", "rejected": "<|im_start|>user\nHo"}, "wrong_value", "chosen"),
    (
        "trl",
        {"chosen": f"{NO_END}很好", "rejected": f"{NO_END}很坏"},
        "no_prompt",
        "chosen",
    ),
    ("trl", {**TRL[0], "chosen": "[{'role': 'user', 'content': "}, "wrong_type", "chosen"),
    ("trl", {**TRL[0], "tools": ["search"]}, "unknown_column", "tools"),
    ("trl", {**TRL[0], "rejected": "Hello!"}, "identical_candidates_tie", "chosen"),
    ("trl", {"chosen": "same", "rejected": "same"}, "identical_candidates_tie", "chosen"),
    ("trl", {"chosen": "Yes", "rejected": "No"}, "no_prompt", "chosen"),
    ("trl", {"chosen": chat("Hi", "Yes"), "rejected": chat("Ho", "No")}, "prompts_differ", "rejected"),
    ("trl", {"prompt": "Hi", "chosen": chat("Ho", "Yes"), "rejected": chat("Ho", "No")}, "prompts_differ", "prompt"),
    ("trl", {"chosen": chat("Hi"), "rejected": chat("Hi", "No")}, "last_turn_not_assistant", "chosen"),
    ("trl", {"chosen": [{"role": "assistant"}], "rejected": chat("Hi", "No")}, "wrong_type", "chosen[0]"),
    ("trl", {"chosen": chat("Hi", "Yes"), "rejected": "No"}, "wrong_type", "rejected"),
    ("labels", {k: v for k, v in VOTES[0].items() if k != "annotator"}, "missing_column", "annotator"),
    ("labels", {**VOTES[0], "choice": "left"}, "wrong_value", "choice"),
    ("labels", {**VOTES[0], "created_at": "yesterday"}, "not_iso_8601", "created_at"),
    ("labels", {**VOTES[2], "shown_frist": "a"}, "unknown_column", "shown_frist"),
    ("labels", {**VOTES[0], "choice": 1}, "wrong_value", "choice"),
    ("labels", {**VOTES[0], "shown_first": "left"}, "wrong_value", "shown_first"),
    ("labels", {**VOTES[0], "duration_ms": "900"}, "wrong_type", "duration_ms"),
    ("labels", {**VOTES[0], "duration_ms": -1}, "wrong_value", "duration_ms"),
    ("labels", {**VOTES[0], "response_b": "Hello!"}, "identical_candidates_tie", "choice"),
    ("labels", {**VOTES[0], "response_b": ""}, "candidate_not_empty", "response_b"),
    ("labels", {**VOTES[0], "strength": 2}, "strength_within_scale", "judgments[0].strength_scale"),
    ("labels", {**VOTES[0], "prompt": "\ud800"}, "canonical_json", ""),
    ("records", {**pair(), "record_id": "0"}, "record_id_recomputes", "record_id"),
    ("records", {"task": 1}, "structure", "record_id"),
    ("shp", {k: v for k, v in POST.items() if k != "score_ratio"}, "missing_column", "score_ratio"),
    ("shp", POST | {"question": "x"}, "unknown_column", "question"),
    ("shp", POST | {"history": " "}, "no_prompt", "history"),
    ("sharegpt", {**SHAREGPT[0], "chosen": {"from": "human", "value": "x"}}, "last_turn_not_assistant", "chosen"),
    ("sharegpt", {**SHAREGPT[0], "conversations": []}, "wrong_type", "conversations"),
    ("kto", {**KTO[0], "label": "true"}, "wrong_value", "label"),
    ("kto", {**KTO[0], "completion": "NaN"}, "missing_value", "completion"),
    ("kto", {**KTO[0], "completion": chat("Hi", "x")}, "last_turn_not_assistant", "completion"),
    ("shp", POST | {"human_ref_A": ""}, "candidate_not_empty", "human_ref_A"),
    ("shp", POST | {"human_ref_A": POST["human_ref_B"]}, "identical_candidates_tie", "human_ref_A"),
    ("shp", POST | {"labels": 2}, "wrong_value", "labels"),
    ("shp", POST | {"labels": True}, "wrong_value", "labels"),
    ("shp", POST | {"score_A": -1}, "wrong_value", "score_A"),
    ("shp", POST | {"score_A": 0}, "wrong_value", "score_A"),  # no ratio
    ("shp", POST | {"labels": 1}, "columns_agree", "labels"),  # fewer votes
    ("shp", POST | {"score_A": 10, "score_ratio": 1.0}, "columns_agree", "labels"),  # as many votes prefer nobody
    ("shp", POST | {"score_ratio": 2.0}, "columns_agree", "score_ratio"),
    ("shp", POST | {"seconds_difference": "60"}, "wrong_type", "seconds_difference"),
    ("shp", POST | {"seconds_difference": 61}, "columns_agree", "seconds_difference"),
    ("shp", POST | {"created_at_utc_A": 1061, "seconds_difference": -1}, "time_order", "seconds_difference"),
    ("shp", SHP[2] | {"seconds_difference": -1}, "time_order", "seconds_difference"),
]
"""(importer, row, rule it breaks, field it names)."""
