"""What evaluation refuses: answers, scores and verdicts that are not about one thing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import content_id
from components.errors import ArtifactError, WiringError
from components.measures.table import everything
from components.measures.take import take
from tests.components.evaluation.world import (
    SAMPLER,
    World,
    asked_of,
    evidence,
    save_answers,
    save_dataset,
    save_likelihoods,
    save_reward_scores,
    save_verdicts,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def _answers(world: World, out: Path, drop: int = 0, **summary: object) -> Path:
    """Answers of the reference to all but the last `drop` prompts."""
    asked = asked_of(world.ports["dataset"][0])
    return save_answers(out, "b" * 32, dict.fromkeys(asked[: len(asked) - drop], "An answer."), **summary)


def test_all_systems_must_have_answered_the_same_prompts(world: World, tmp_path: Path) -> None:
    fewer = _answers(world, tmp_path / "fewer", drop=2)
    with pytest.raises(WiringError, match="got 2 only by the candidate and 0 only by the reference"):
        evidence({**world.ports, "reference": [fewer]})


def test_all_systems_must_have_been_sampled_alike(world: World, tmp_path: Path) -> None:
    hot = _answers(world, tmp_path / "hot", sampler={**SAMPLER, "temperature": 2.0})
    with pytest.raises(WiringError, match="got other temperature"):
        evidence({**world.ports, "reference": [hot]})
    batches = _answers(world, tmp_path / "batches", sampler={**SAMPLER, "batch_size": 1})
    evidence({**world.ports, "reference": [batches], "scores": [], "verdicts": []})


def test_the_answers_must_be_those_of_the_policy(world: World, tmp_path: Path) -> None:
    with pytest.raises(WiringError, match="answers of another policy"):
        evidence({**world.ports, "candidate": world.ports["champion"]})


def test_prompts_must_be_held_out_ones_of_this_data_set(world: World, tmp_path: Path) -> None:
    other = save_dataset(tmp_path / "other", n_test=3)
    with pytest.raises(WiringError, match=r"is not in .*test\.jsonl"):
        evidence(world.only("candidate", "reference", "policy", dataset=[other]))


def test_answers_are_put_into_the_order_of_the_candidates(world: World, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled"
    shutil.copytree(world.ports["reference"][0], shuffled)
    lines = (shuffled / "samples.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (shuffled / "samples.jsonl").write_text("".join(lines[::-1]), encoding="utf-8")
    ports = world.only("candidate", "policy", "dataset")
    systems = evidence({**ports, "reference": [shuffled]}).systems
    assert (
        systems["reference"].texts
        == evidence({**ports, "reference": world.ports["reference"]}).systems["reference"].texts
    )


def test_scores_of_another_data_set_are_refused(world: World, tmp_path: Path) -> None:
    other = save_dataset(tmp_path / "other", n_test=14)
    foreign = save_likelihoods(tmp_path / "foreign", other, "b" * 32)
    with pytest.raises(WiringError, match="another split or data set"):
        evidence({**world.ports, "scores": [foreign]})


def _edited(folder: Path, out: Path, edit: Any) -> Path:
    shutil.copytree(folder, out)
    path = out / "scores.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in edit(rows)), encoding="utf-8")
    return out


def test_scores_of_other_comparisons_are_no_scores(world: World, tmp_path: Path) -> None:
    def other(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | ({"record_id": "x"} if row["of"] == "comparison" else {}) for row in rows]

    bad = _edited(world.ports["scores"][0], tmp_path / "bad", other)
    with pytest.raises(ArtifactError, match=r"scores\.jsonl:\d+: not a row of scores .*of another record"):
        evidence({**world.ports, "scores": [bad]})


def test_half_a_split_is_no_split(world: World, tmp_path: Path) -> None:
    def half(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["of"] != "comparison" or row["index"] < 6]

    with pytest.raises(WiringError, match="lacks comparisons of the test split"):
        evidence({**world.ports, "scores": [_edited(world.ports["scores"][0], tmp_path / "half", half)]})


@pytest.mark.parametrize("row", [{"of": "else"}, {"of": "pair", "a": "x"}, {"of": "comparison", "index": 99}])
def test_a_row_that_is_none_is_named(world: World, tmp_path: Path, row: dict[str, Any]) -> None:
    bad = _edited(world.ports["scores"][0], tmp_path / "bad", lambda rows: [row])
    with pytest.raises(ArtifactError, match=r"scores\.jsonl:1: not a row of scores"):
        evidence({**world.ports, "scores": [bad]})


def test_two_reward_models_are_not_one_witness(world: World, tmp_path: Path) -> None:
    systems = {name: world.ports[name][0] for name in ("candidate", "reference")}
    second = save_reward_scores(tmp_path / "second", world.ports["dataset"][0], systems, model="e" * 32)
    with pytest.raises(WiringError, match="two preference models"):
        evidence({**world.ports, "scores": [world.ports["scores"][0], second]})


def test_verdicts_must_be_about_the_candidate_and_one_opponent(world: World, tmp_path: Path) -> None:
    candidate, reference = world.ports["candidate"][0], world.ports["reference"][0]
    backwards = save_verdicts(tmp_path / "backwards", reference, candidate)
    with pytest.raises(WiringError, match="not the candidate's answers against another system's"):
        evidence({**world.ports, "verdicts": [backwards]})
    again = save_verdicts(tmp_path / "again", candidate, reference, noise=0.1)
    with pytest.raises(WiringError, match="two artifacts judge the candidate against the reference"):
        evidence({**world.ports, "verdicts": [*world.ports["verdicts"], again]})


def test_a_pair_without_a_verdict_is_counted_and_no_tie(world: World, tmp_path: Path) -> None:
    """Of 12 pairs one was not put forward and one got no verdict in one order: 10 are left."""
    verdicts = tmp_path / "verdicts"
    shutil.copytree(world.ports["verdicts"][0], verdicts)
    rows = [json.loads(line) for line in (verdicts / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [row for row in rows if not row["identical"]]
    asked[0]["second"] = None
    rows.remove(asked[1])
    (verdicts / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = take(evidence({**world.ports, "verdicts": [verdicts]}), everything())
    assert found.metrics["win_rate.judge.vs_reference"]["n"] == 10


def test_the_rule_combines_the_two_orders(world: World) -> None:
    def values(rule: str) -> list[float | None]:
        judge = next(w for w in evidence(world.ports, rule=rule).witnesses if w.name == "judge")
        return list(judge.wins["reference"])

    mean, net = values("mean_p"), values("net")
    assert set(mean) <= {0.0, 0.5, 1.0}
    assert [None if v is None else (v > 0.5) - (v < 0.5) for v in mean] == [(v > 0.5) - (v < 0.5) for v in net]  # type: ignore[operator]


def test_a_model_that_only_compares_gives_wins_and_accuracy_but_no_gain(world: World, tmp_path: Path) -> None:
    """The same model, with and without its scores: every number it can give is the same."""
    dataset = world.ports["dataset"][0]
    systems = {name: world.ports[name][0] for name in ("candidate", "reference", "champion")}
    blind = save_reward_scores(tmp_path / "blind", dataset, systems, scored=False)
    with_scores = take(evidence({**world.ports, "scores": [world.ports["scores"][0]]}), everything())
    without = take(evidence({**world.ports, "scores": [blind]}), everything())
    for name in ("reward_model.accuracy", "win_rate.reward_model.vs_reference", "win_rate.reward_model.vs_champion"):
        assert without.metrics[name] == with_scores.metrics[name]
    one, other = (found.metrics["reward_model.nll"]["value"] for found in (without, with_scores))
    assert one == pytest.approx(other)
    assert "gives no scores" in without.missing["gain.reward_model.vs_reference"]


@pytest.mark.parametrize("sampler", [{"temperature": 0.0}, {"top_p": 0.9}])
def test_kl_is_missing_where_the_sampled_distribution_is_unknown(tmp_path: Path, sampler: dict[str, float]) -> None:
    world = World(tmp_path / "world")
    for name in ("candidate", "reference"):
        path = world.ports[name][0] / "summary.json"
        summary = json.loads(path.read_text())
        path.write_text(json.dumps(summary | {"sampler": {**SAMPLER, **sampler}}))
    results = take(evidence(world.only("candidate", "reference", "dataset", "policy")), everything())
    assert "top_p" in results.missing["kl.sequence_k1"]


def test_another_vocabulary_leaves_kl_out_and_says_so(world: World, tmp_path: Path) -> None:
    other = _answers(world, tmp_path / "other", vocabulary="w" * 64)
    results = take(evidence(world.only("candidate", "dataset", "policy", reference=[other])), everything())
    assert "vocabulary" in results.missing["kl.sequence_k1"]
    assert "vocabulary" in results.missing["length.ratio_to_reference"]


def test_kl_is_of_the_candidates_own_answers_under_both(world: World) -> None:
    """Own log-probabilities stand in the samples, the reference's in its scores."""
    found = evidence(world.ports)
    row, ratios = found.systems["candidate"].samples[0], found.log_ratios["candidate"][0]
    scores = next(path for path in world.ports["scores"] if path.name == "reference_likelihood")
    oid = content_id(world.ports["candidate"][0])
    lines = map(json.loads, (scores / "scores.jsonl").read_text(encoding="utf-8").splitlines())
    theirs = next(x for x in lines if x.get("samples") == oid and x["prompt_key"] == row.prompt_key)["logps"]
    assert ratios == pytest.approx([a - b for a, b in zip(row.logprobs, theirs, strict=True)])
