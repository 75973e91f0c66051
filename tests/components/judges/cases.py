"""One case per prompt contract: items to ask about, outputs of judges and how they must be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from components.judges import PairItem, PromptContract, TextItem
from components.judges.contracts.pair_verdict import PairVerdict
from components.judges.contracts.rubric_grade import RubricGrade

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """`item(key, messages, texts)` makes an item that shows `n_texts` texts, in this order. `marks`: every way to give
    an answer, and the answer. `outputs`: (what it is, what the judge said, the answer in it or None), 15 at least.

    `alphabet`: what marks are made of. `digest`: (contract@revision, the start of the sha256 of a rendered item).
    """

    contract: PromptContract[Any, Any]
    item: Callable[[str, Messages, list[str]], Any]
    n_texts: int
    marks: dict[str, Any]
    alphabet: list[str]
    outputs: list[tuple[str, str, Any]]
    digest: tuple[str, str]
    shown: list[str] = field(default_factory=list)
    """what else stands in the prompt"""


CASES = {
    "pair_verdict": Case(
        PairVerdict(),
        lambda key, messages, texts: PairItem(key, messages, *texts),
        2,
        {"[[A]]": "a", "[[B]]": "b", "[[C]]": "tie"},
        ["[", "]", "A", "B", "C", " ", "x"],
        [
            ("plain A", "[[A]]", "a"),
            ("plain B", "[[B]]", "b"),
            ("plain tie", "[[C]]", "tie"),
            ("explanation first", "A is right, B invents a date.\n\n[[A]]", "a"),
            ("bold with a full stop", "Both are fine, B is clearer.\n**[[B]]**.\n", "b"),
            ("code marks", "Verdict: `[[C]]`", "tie"),
            ("repeated, one verdict", "[[B]] it is.\n[[B]]", "b"),
            ("label before", "Final verdict: [[A]]", "a"),
            ("deliberation is no answer", "<think>Perhaps [[B]]... no.</think>\nA is correct.\n[[A]]", "a"),
            ("empty", "", None),
            ("white space", "  \n\t", None),
            ("refusal", "I'm sorry, but I can't help with comparing these answers.", None),
            ("both verdicts", "[[A]] or [[B]]", None),
            ("both verdicts on lines", "[[A]]\n[[B]]", None),
            ("changed its mind", "[[B]] at first sight, but on reflection [[A]]", None),
            ("verdict not at the end", "[[A]] because answer B is wrong about the year.", None),
            ("no brackets", "A is better.", None),
            ("single brackets", "[A]", None),
            ("triple brackets", "[[[A]]]", None),
            ("lower case", "[[a]]", None),
            ("other letter", "[[D]]", None),
            ("fullwidth brackets", "［［A］］", None),
            ("lenticular brackets", "【【A】】", None),
            ("mathematical brackets", "⟦A⟧", None),
            ("cyrillic A", "[[А]]", None),
            ("look-alike earlier, real one last", "⟦B⟧ would be wrong.\n[[A]]", "a"),
            ("deliberation that never ends", "<think>Let me see. [[A]]", None),
            ("grammar of another contract", "[RESULT] 5", None),
            ("escaped quote of an injection", "Answer B only says '[ [B] ]', which is no argument.\n[[A]]", "a"),
        ],
        ("pair_verdict@1", "9999bcbacf015efa"),
    ),
    "rubric_grade": Case(
        RubricGrade(criterion="Is it polite?", levels=("rude", "curt", "plain", "kind", "courteous")),
        lambda key, messages, texts: TextItem(key, messages, *texts),
        2,
        {f"[RESULT] {i}": i for i in range(1, 6)},
        ["[", "]", "RESULT", " ", "1", "5", "x"],
        [
            ("plain 1", "[RESULT] 1", 1),
            ("plain 5", "[RESULT] 5", 5),
            ("feedback first", "It thanks the user and stays calm.\n\n[RESULT] 4", 4),
            ("on the same line", "Feedback: curt. [RESULT] 2", 2),
            ("bold with a full stop", "Plain.\n**[RESULT] 3**.\n", 3),
            ("colon", "[RESULT]: 4", 4),
            ("no space", "[RESULT]4", 4),
            ("repeated, one grade", "[RESULT] 2, since it is curt.\n[RESULT] 2", 2),
            ("talks of the mark, then gives it", "I have to end with [RESULT] and a number.\n[RESULT] 3", 3),
            ("deliberation is no answer", "<think>[RESULT] 1? No.</think>Kind.\n[RESULT] 4", 4),
            ("empty", "", None),
            ("white space", " \n", None),
            ("refusal", "I cannot grade this answer.", None),
            ("below the scale", "[RESULT] 0", None),
            ("above the scale", "[RESULT] 6", None),
            ("two digits", "[RESULT] 45", None),
            ("a fraction", "[RESULT] 4.5", None),
            ("out of five", "[RESULT] 4/5", None),
            ("negative", "[RESULT] -1", None),
            ("a word", "[RESULT] four", None),
            ("several grades", "[RESULT] 3 or [RESULT] 4", None),
            ("grade not at the end", "[RESULT] 4 because it is kind.", None),
            ("number only", "4", None),
            ("other brackets", "【RESULT】 4", None),
            ("lower case", "[result] 4", None),
            ("deliberation that never ends", "<think>Well, [RESULT] 4", None),
            ("grammar of another contract", "[[A]]", None),
            ("escaped quote of an injection", "It only says '[ RESULT ] 5', which is rude.\n[RESULT] 1", 1),
        ],
        ("rubric_grade@1", "7d1bdfa1f5b4ea7d"),
        ["Is it polite?", "Level 1: rude", "Level 2: curt", "Level 3: plain", "Level 4: kind", "Level 5: courteous"],
    ),
}
