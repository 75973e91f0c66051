"""The page: self-contained, safe, the same bytes every time."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from components.contract.params import build
from components.evaluation.examples import Evidence, example, selections
from components.evaluation.findings import detectable, findings, verdict
from components.evaluation.measure import Table
from components.evaluation.params import Params
from components.evaluation.plots import COLORS, curve, forest
from components.evaluation.report import Page, headline, render
from components.evaluation.run import measure_all
from tests.components.evaluation.world import fake_evidence, fake_system

PARAMS = build(Params, {"resamples": 100, "use_judge": True}, "params")
SCRIPT = "<script>alert('x')</script><img src=http://evil.example/a.png>"


def _page(evidence: Evidence) -> Page:
    return Page(
        identity="f" * 32,
        provenance=[{"port": "policy", "id": "a" * 32, "made_by": "policy_optimization@1", "known": True}],
        params='{"seed": 0}',
        training_log=[{"step": s, "loss": 1 / s, "rewards/accuracies": 0.5} for s in range(1, 30)],
        sample=[example(evidence, i) for i in range(min(3, len(evidence.test.prompts)))],
        selected=[vars(s) | {"rows": [example(evidence, i) for i in s.rows]} for s in selections(evidence)],
        rule="conservative",
    )


def _html(**how: object) -> str:
    evidence = fake_evidence(**how)  # type: ignore[arg-type]
    return render(evidence, measure_all(evidence, PARAMS), _page(evidence))


@pytest.fixture(scope="module")
def html() -> str:
    return _html(spoil=SCRIPT)


def test_the_same_evaluation_gives_the_same_bytes(html: str) -> None:
    assert _html(spoil=SCRIPT) == html


def test_what_models_wrote_is_escaped(html: str) -> None:
    assert "&lt;script&gt;alert(" in html
    assert "<script" not in html
    assert "<img" not in html


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    """Links stay on the page; no url() but those of its own SVG; a policy forbids the rest."""
    for target in re.findall(r"<[^>]*\b(?:src|href|action|data)\s*=\s*[\"']?([^\"'\s>]+)", html):
        assert target.startswith("#"), target
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_every_reference_inside_the_page_has_its_target_once(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = re.findall(r'href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert set(used) <= set(ids)


def test_plots_follow_the_colour_scheme_of_the_page(html: str) -> None:
    assert html.count("<svg") >= 7
    assert not any(color in html for color in COLORS.values())
    for role in COLORS:
        assert f"--{role}:" in html
    assert "prefers-color-scheme: dark" in html


def test_no_clock_host_or_path_in_the_page(html: str) -> None:
    assert not re.search(r"\b20\d\d-\d\d-\d\d|/home/|/tmp/|/(root|var)/", html)


def test_a_page_without_any_scorer_still_says_what_it_can() -> None:
    page = _html(scored=False)
    assert "No scorer compared the candidate with anything" in page
    assert "Answer length" in page


def test_a_single_prompt_renders() -> None:
    assert "Evaluation report" in _html(n=1)


def test_random_and_selected_examples_stand_apart(html: str) -> None:
    random, selected = html.index('id="sample"'), html.index('id="selected"')
    assert random < selected
    assert "drawn before any answer was looked at" in html[random:selected]
    assert "Selected, not random" in html[selected:]


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.51, 0.6, "better"), (0.4, 0.49, "worse"), (0.45, 0.55, "no clear difference")]
)
def test_a_verdict_needs_an_interval_clear_of_half(low: float, high: float, said: str) -> None:
    assert verdict({"value": 0.5, "n": 9, "ci_low": low, "ci_high": high}) == said


def test_no_interval_is_no_verdict() -> None:
    assert verdict(None) == verdict({"value": 1.0, "n": 1, "ci_low": None, "ci_high": None}) == "no verdict"


def test_scorers_that_differ_are_not_averaged_in_the_headline() -> None:
    evidence = fake_evidence(n=10)
    table = Table()
    for contest, low in zip(evidence.contests, (0.6, 0.6, 0.3), strict=True):
        table.metrics[contest.metric] = {"value": 0.5, "n": 10, "ci_low": low, "ci_high": 0.7}
    text = headline(evidence, table)
    assert text == "Better than the reference (reward model, judge), no clear difference (known truth)."
    assert any("the known truth does not clearly" in finding.text for finding in findings(evidence, table))
    table.metrics[evidence.contests[2].metric]["ci_low"] = 0.6
    assert headline(evidence, table) == "Better than the reference."


def test_785_prompts_detect_five_points() -> None:
    """EVAL-38 (g): (1.96 + 0.84)^2 * 0.25 / 0.05^2 = 785."""
    assert detectable(785) == pytest.approx(0.05, abs=1e-4)


def _warnings(evidence: Evidence) -> str:
    return " ".join(f.text for f in findings(evidence, measure_all(evidence, PARAMS)) if f.level == "warn")


def test_a_clean_evaluation_has_no_warning_about_leaks_lengths_or_cuts() -> None:
    text = _warnings(fake_evidence(n=120))
    assert not re.search(r"train split|times as long|cut at", text)


def test_leaks_long_and_cut_answers_are_pointed_out() -> None:
    evidence = fake_evidence(n=20)
    candidate = fake_system("candidate", [text + " and so on" * 20 for text in evidence.systems["candidate"].texts])
    candidate.answers = [replace(answer, finish="length") for answer in candidate.answers]
    candidate.chosen_logps = candidate.rejected_logps = [-1.0] * 20
    candidate.chosen_lengths = candidate.rejected_lengths = [4] * 20
    leaky = replace(evidence.test, leaked=[True] + [False] * 19)
    text = _warnings(replace(evidence, test=leaky, systems=evidence.systems | {"candidate": candidate}))
    assert "1 of 20 test prompts also stand in the train split" in text
    assert "times as long as the reference's" in text
    assert "100.0% of the candidate's answers were cut" in text


def test_plots_are_deterministic_and_hold_no_foreign_names() -> None:
    rows = [("a <b>", {"value": 0.6, "n": 5, "ci_low": None, "ci_high": None})]
    assert forest(rows) == forest(rows)
    assert "a &lt;b&gt;" in forest(rows)
    assert "http" not in forest(rows)
    assert curve("c", "loss", [1, 2, 3], [3.0, 2.0, 1.0]) == curve("c", "loss", [1, 2, 3], [3.0, 2.0, 1.0])
