"""The page: self-contained, safe, the same bytes every time."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import components.evaluation.findings as findings_module
from components.evaluation import witnesses
from components.evaluation.examples import example, selections
from components.evaluation.findings import detectable, findings, verdict
from components.evaluation.plots import COLORS, curve, forest
from components.evaluation.report import Page, headline, render
from components.evaluation.slices import slice_rows
from components.evaluation.tables import headlines
from components.evaluation.witnesses import Given
from components.measures.evidence import Evidence, Testimony
from components.measures.table import everything
from components.measures.take import Results, take
from tests.components.evaluation.world import World, evidence

SCRIPT = "<script>alert('x')</script><img src=http://evil.example/a.png>"
ALONE = ("candidate", "reference", "dataset", "policy")


def _page(found: Evidence) -> Page:
    return Page(
        identity="f" * 32,
        provenance=[{"port": "policy", "id": "a" * 32, "made_by": "policy_optimization@1", "known": True}],
        params='{"seed": 0}',
        training_log=[{"step": s, "loss": 1 / s, "rewards/accuracies": 0.5} for s in range(1, 30)],
        slices=slice_rows(found),
        sample=[example(found, i) for i in range(min(3, len(found.test.prompts)))],
        selected=[vars(s) | {"rows": [example(found, i) for i in s.rows]} for s in selections(found)],
        rule="conservative",
    )


def _html(found: Evidence) -> str:
    return render(found, take(found, everything()), _page(found))


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    world = World(tmp_path_factory.mktemp("world"), n_test=40, spoil=SCRIPT)
    return evidence(world.ports, gold="simulated")


@pytest.fixture(scope="module")
def html(spoiled: Evidence) -> str:
    return _html(spoiled)


def test_the_same_evaluation_gives_the_same_bytes(html: str, spoiled: Evidence) -> None:
    assert _html(spoiled) == html


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


def test_a_page_without_any_scorer_still_says_what_it_can(tmp_path: Path) -> None:
    page = _html(evidence(World(tmp_path / "world").only(*ALONE)))
    assert "No scorer compared the candidate with anything" in page
    assert "Answer length" in page


def test_a_single_prompt_renders(tmp_path: Path) -> None:
    assert "Evaluation report" in _html(evidence(World(tmp_path / "world", n_test=1).ports))


def test_random_and_selected_examples_stand_apart(html: str) -> None:
    random, selected = html.index('id="sample"'), html.index('id="selected"')
    assert random < selected
    assert "drawn before any answer was looked at" in html[random:selected]
    assert "Selected, not random" in html[selected:]


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.51, 0.6, "better"), (0.4, 0.49, "worse"), (0.45, 0.55, "no clear difference")]
)
def test_a_verdict_needs_an_interval_clear_of_half(low: float, high: float, said: str) -> None:
    assert verdict({"value": 0.5, "n": 30, "ci_low": low, "ci_high": high}) == said
    assert verdict({"value": 0.5, "n": 29, "ci_low": low, "ci_high": high}) == "no verdict"


def test_no_interval_is_no_verdict() -> None:
    assert verdict(None) == verdict({"value": 1.0, "n": 1, "ci_low": None, "ci_high": None}) == "no verdict"


def test_scorers_that_differ_are_not_averaged_in_the_headline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "ENOUGH", 1)  # a small world
    ports = World(tmp_path / "world").only(*ALONE, "scores", "verdicts")
    found = evidence({**ports, "verdicts": ports["verdicts"][:1]}, gold="simulated")
    results = take(found, everything())
    for witness, low in (("reward_model", 0.6), ("judge", 0.6), ("gold", 0.3)):
        row = {"value": 0.5, "n": 10, "ci_low": low, "ci_high": 0.7}
        results.metrics[f"win_rate.{witness}.vs_reference"] = row  # type: ignore[assignment]
    text = headline(found, results)
    assert text == "Better than the reference (reward model, judge), no clear difference (known truth)."
    assert any("the known truth does not clearly" in finding.text for finding in findings(found, results))
    results.metrics["win_rate.gold.vs_reference"]["ci_low"] = 0.6
    assert headline(found, results) == "Better than the reference."


def test_785_prompts_detect_five_points() -> None:
    """EVAL-38 (g): (1.96 + 0.84)^2 * 0.25 / 0.05^2 = 785."""
    assert detectable(785) == pytest.approx(0.05, abs=1e-4)


def _warnings(found: Evidence) -> str:
    return " ".join(f.text for f in findings(found, take(found, everything())) if f.level == "warn")


def test_ordinary_answers_give_no_warning_about_leaks_or_cuts(tmp_path: Path) -> None:
    text = _warnings(evidence(World(tmp_path / "world", n_test=40).ports))
    assert not re.search(r"train split|13 words|cut at", text)
    assert re.search(r"\d+ of the test comparisons hold a completion that does not continue", text), "not all are clean"


def test_leaks_long_and_cut_answers_are_pointed_out(tmp_path: Path) -> None:
    found = evidence(World(tmp_path / "world").ports)
    own = found.systems["candidate"]
    long = [replace(s, finish="length", token_ids=s.token_ids * 3, logprobs=s.logprobs * 3) for s in own.samples]
    leaky = replace(found.test, leaked=[True, *found.test.leaked[1:]])
    systems = {**found.systems, "candidate": replace(own, samples=long)}
    text = _warnings(replace(found, test=leaky, systems=systems))
    assert "1 of 12 test prompts also stand in the train split" in text
    assert "times as long as the reference's" in text
    assert "100.0% of the candidate's answers were cut" in text


def test_a_number_outside_the_range_of_its_measure_is_a_warning(tmp_path: Path) -> None:
    """Margins of a random reward model are no probabilities; the sentence is the measure's."""
    found = evidence(World(tmp_path / "world").ports)
    results = take(found, everything())
    results.metrics["reward_model.ece10"]["value"] = 0.09
    said = [finding.text for finding in findings(found, results)]
    assert "The reward model's margins are no probabilities: calibration error 0.09." in said
    results.metrics["reward_model.ece10"]["value"] = 0.07
    assert not [f.text for f in findings(found, results) if "no probabilities" in f.text]


def test_every_table_cell_and_card_is_of_a_measure(html: str, spoiled: Evidence) -> None:
    """What the page prints is what the metrics hold, under the rows' labels."""
    results = take(spoiled, everything())
    for measure in ("accuracy", "length_mean", "position_consistency", "gain", "kl_sequence_k1"):
        _, taken = next(results.at(measure))
        assert taken.place.words(taken.row.facts["label"]) in html, measure
    assert f"{results.metrics['reward_model.accuracy']['value']:.1%}" in html
    assert "KL to the reference" in html
    assert "Reward model accuracy" in html


def test_a_fourth_scorer_touches_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more reader: win rates, health, headline, cards, plots, findings and slices are there."""

    def panel(given: Given) -> Testimony:
        wins = {answers.name: [1.0] * len(answers.samples) for answers in given.opponents}
        scores = {name: [float(len(t)) for t in answers.texts] for name, answers in given.systems.items()}
        return Testimony("panel", "panel of experts", ("wins", "side_scores", "scores"), wins, scores)

    monkeypatch.setattr(witnesses, "READERS", (*witnesses.READERS, panel))
    monkeypatch.setattr(findings_module, "ENOUGH", 1)  # a small world
    found = evidence(World(tmp_path / "world").ports)
    results: Results = take(found, everything())
    assert results.metrics["win_rate.panel.vs_champion"]["value"] == 1.0
    assert "gain.panel.vs_reference" in results.metrics
    labels = {line["metric"]: line["label"] for line in headlines(results)}
    assert labels["win_rate.panel.vs_reference"] == "win rate over base (panel of experts)"
    page = _html(found)
    assert "panel of experts, vs reference" in page
    assert "better than the reference" in headline(found, results).lower()
    assert [row for row in slice_rows(found) if row["metric"] == "win_rate.panel.vs_reference"]
    assert any("panel of experts" in selection.title for selection in selections(found))


def test_plots_are_deterministic_and_hold_no_foreign_names() -> None:
    rows = [("a <b>", {"value": 0.6, "n": 5, "ci_low": None, "ci_high": None})]
    assert forest(rows) == forest(rows)
    assert "a &lt;b&gt;" in forest(rows)
    assert "http" not in forest(rows)
    assert curve("c", "loss", [1, 2, 3], [3.0, 2.0, 1.0]) == curve("c", "loss", [1, 2, 3], [3.0, 2.0, 1.0])
