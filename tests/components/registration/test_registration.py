"""The component on a real MLflow store and a tiny policy: what is registered, refused, promoted, kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from components import artifacts
from components.contract.record import record_path
from components.errors import ArtifactError, WiringError
from components.registration.reload import check_reload, read_check
from components.registry import Registry, verify
from components.training.params import Compute
from tests.components.registration.conftest import (
    BASE,
    COMPUTE,
    DATASET,
    FEEDBACK,
    METRICS,
    RAW,
    Candidate,
    Make,
    made,
    write_record,
)

BAD = {**METRICS, "win_rate": {"value": 0.5, "n": 200, "ci_low": 0.43, "ci_high": 0.57}}


def actions(registry: Registry) -> list[tuple[str, str, int]]:
    return [(entry.action, entry.alias, entry.after) for entry in registry.ledger("m")]


def champion(registry: Registry) -> int:
    found = registry.champion("m")
    return found.version if found else 0


def test_the_first_version_that_passes_becomes_champion_with_everything_that_explains_it(
    registry: Registry, make: Make
) -> None:
    candidate = make()
    record = candidate.register()
    assert dict(record.metrics) == {"gate": "pass", "gate.checks": 2, "gate.failed": 0, "gate.reason": ""}
    info = registry.find(record.identity)
    assert info is not None
    assert (info.version, info.aliases, info.gate, info.content_id) == (1, ("champion",), "pass", candidate.id)
    assert actions(registry) == [("promote", "challenger", 1), ("promote", "champion", 1)]
    wanted = {
        "objective.name": "dpo",
        "objective.beta": "0.1",
        "dataset.id": DATASET,
        "reference.id": BASE,
        "gate.report": artifacts.content_id(candidate.report),
        "component.policy_optimization": "1",
        "component.feedback_curation": "2",
        f"lineage.{candidate.id}": "policy_optimization@1 policy",
        f"lineage.{FEEDBACK}": "human_feedback@1 feedback",
        f"lineage.{RAW}": "external raw_feedback",
        "git.commit": "c0ffee",
    }
    assert wanted.items() <= info.tags.items()
    run = registry._client.get_run(info.run_id)
    assert run.data.metrics["win_rate.ci_low"] == 0.53
    assert run.data.metrics["train/loss"] == 0.35
    assert run.data.params["policy_optimization.optimization.learning_rate"] == "1e-05"
    digests = {item.dataset.digest for item in run.inputs.dataset_inputs}
    assert digests == {DATASET, FEEDBACK, RAW}
    for name in ("gate.json", "model_card.md"):
        assert registry.read_text(info, name) == (candidate.folder / "decision" / name).read_text()
    assert registry.read_text(info, "report/report.html") == "<html>report</html>"
    assert candidate.execution["outcome"] == "promoted to champion"
    assert candidate.execution["reload"] == {"rows": 4, "largest_gap": 0.0, "exact": True}
    assert verify(record.identity, "m")


def test_the_lineage_goes_down_to_the_raw_feedback_and_travels_with_the_download(
    registry: Registry, make: Make, tmp_path: Path
) -> None:
    candidate = make()
    candidate.register()
    assert {RAW, FEEDBACK, DATASET, BASE, candidate.id} == set(registry.lineage("m", 1))
    back = registry.download("m", "@champion", tmp_path / "back")
    assert record_path(back).read_text() == record_path(candidate.policy).read_text()


def test_running_again_changes_nothing(registry: Registry, make: Make) -> None:
    candidate = make()
    first = candidate.register()
    ledger = registry.ledger("m")
    again = candidate.register()
    assert again == first
    assert [info.version for info in registry.versions("m")] == [1]
    assert registry.ledger("m") == ledger
    assert candidate.execution["outcome"] == "decided before: nothing changed"


def test_running_again_does_not_undo_a_rollback(registry: Registry, make: Make) -> None:
    old = make(seed=1)
    old.register()
    new = make(seed=2, champion=old.id)
    new.register()
    assert champion(registry) == 2
    registry.rollback("m", by="me", reason="users complain")
    new.register()
    assert champion(registry) == 1


def test_a_refused_candidate_is_a_version_without_alias_and_the_champion_stays(registry: Registry, make: Make) -> None:
    good = make(seed=1)
    good.register()
    bad = make(seed=2, metrics=BAD, champion=good.id)
    record = bad.register()
    assert record.metrics["gate"] == "refused"
    assert record.metrics["gate.reason"] == "gate: win_rate ci_low > 0.5"
    info = registry.version("m", 2)
    assert (info.gate, info.aliases) == ("refused", ())
    assert info.tags["gate.reason"] == "gate: win_rate ci_low > 0.5"
    assert champion(registry) == 1
    assert actions(registry)[-1] == ("refuse", "champion", 2)
    assert registry.ledger("m")[-1].reason == "gate: win_rate ci_low > 0.5"
    assert verify(record.identity, "m")
    gate = json.loads((bad.folder / "decision" / "gate.json").read_text())
    assert gate["verdict"] == "refused"
    assert gate["checks"][0]["reason"] == "ci_low is 0.43, must be > 0.5"


def test_a_missing_metric_refuses_and_the_report_says_why(make: Make) -> None:
    candidate = make(metrics={"length.ratio_to_reference": 1.0})
    assert candidate.register().metrics["gate"] == "refused"
    gate = json.loads((candidate.folder / "decision" / "gate.json").read_text())
    assert gate["checks"][0]["reason"] == "the report has no metric win_rate (no pair got a verdict)"


def test_without_promote_the_version_waits_as_challenger(registry: Registry, make: Make) -> None:
    candidate = make()
    candidate.register(promote=False)
    assert champion(registry) == 0
    assert registry.version("m", 1).aliases == ("challenger",)
    assert actions(registry) == [("promote", "challenger", 1), ("keep", "champion", 1)]


@pytest.mark.parametrize("compared", ["", "c" * 32 + ".dir"], ids=["with nobody", "with another one"])
def test_who_was_not_compared_with_the_current_champion_stays_challenger(
    registry: Registry, make: Make, compared: str
) -> None:
    make(seed=1).register()
    candidate = make(seed=2, champion=compared)
    candidate.register()
    assert champion(registry) == 1
    assert registry.version("m", 2).aliases == ("challenger",)
    assert "not compared with the current champion, version 1" in candidate.execution["outcome"]
    assert actions(registry)[-1] == ("keep", "champion", 2)


def test_who_beats_the_champion_it_was_compared_with_replaces_it(registry: Registry, make: Make) -> None:
    first = make(seed=1)
    first.register()
    second = make(seed=2, champion=first.id)
    second.register()
    assert champion(registry) == 2
    assert registry.ledger("m")[-1].before == 1
    assert registry.version("m", 2).tags["champion.compared"] == first.id


def test_the_champions_own_policy_again_is_no_challenger(registry: Registry, make: Make) -> None:
    make(seed=1).register()
    again = make(seed=1)
    again.register(promote=False)  # other parameters: another identity, the same policy
    assert champion(registry) == 1
    assert registry.version("m", 2).aliases == ()
    assert "is the same policy" in again.execution["outcome"]


def test_a_crash_before_the_decision_is_made_good_by_the_next_run(
    registry: Registry, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = make()

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "promote", crash)
        with pytest.raises(KeyboardInterrupt):
            candidate.register()
    assert not (candidate.folder / "decision").exists()
    candidate.register()
    assert champion(registry) == 1
    assert [info.version for info in registry.versions("m")] == [1]


def flip_a_weight(policy: Path, amount: float) -> None:
    file = policy / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight" if "lm_head.weight" in weights else "model.embed_tokens.weight"][30, 0] += amount
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize(("amount", "exact"), [(0.1, True), (0.1, False), (1e-6, True)])
def test_weights_that_are_not_the_trained_ones_are_refused(
    registry: Registry, make: Make, amount: float, exact: bool
) -> None:
    candidate = make()
    flip_a_weight(candidate.policy, amount)
    relabel(candidate)
    with pytest.raises(ArtifactError, match="are not the trained ones: row 0"):
        candidate.register(exact=exact)
    assert registry.names() == []
    assert not (candidate.folder / "decision").exists()


def relabel(candidate: Candidate) -> None:
    """Records that agree with the changed policy, as if training had saved the wrong weights."""
    write_record(candidate.policy, "policy_optimization@1", "policy", {"dataset": DATASET, "policy": BASE}, {})
    write_record(candidate.report, "evaluation@1", "report", {"policy": candidate.id, "reference": BASE}, {})


def test_other_threads_or_a_stated_tolerance_accept_rounding_and_no_more(make: Make) -> None:
    candidate = make()
    check = json.loads((candidate.policy / "scoring_check.json").read_text())
    assert check_reload(candidate.policy, COMPUTE, exact=True).largest == 0.0
    for gap, passes in ((5e-5, True), (1e-2, False)):
        check["items"][0]["logprob"] *= 1 + gap
        (candidate.policy / "scoring_check.json").write_text(json.dumps(check))
        with pytest.raises(ArtifactError, match="bit by bit"):
            check_reload(candidate.policy, COMPUTE, exact=True)
        for compute, exact in ((COMPUTE, False), (Compute(threads=2), True)):
            if passes:
                assert not check_reload(candidate.policy, compute, exact=exact).exact
            else:
                with pytest.raises(ArtifactError, match=r"to 0\.0001"):
                    check_reload(candidate.policy, compute, exact=exact)


def test_a_check_that_scores_nan_refuses(make: Make) -> None:
    candidate = make()
    text = (candidate.policy / "scoring_check.json").read_text()
    raw = json.loads(text)
    raw["items"][1]["logprob"] = float("nan")
    (candidate.policy / "scoring_check.json").write_text(json.dumps(raw))
    with pytest.raises(ArtifactError, match="row 1"):
        check_reload(candidate.policy, COMPUTE, exact=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no scoring_check.json"), ("{", "not a scoring check"), ('{"items": [], "compute": {}}', "holds no rows")],
)
def test_a_policy_without_a_usable_check_is_refused(make: Make, text: str | None, message: str) -> None:
    candidate = make()
    path = candidate.policy / "scoring_check.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_check(candidate.policy)


def test_a_report_about_another_policy_is_refused(registry: Registry, make: Make) -> None:
    one, two = make(seed=1), make(seed=2)
    two.report = one.report
    with pytest.raises(WiringError, match="the report is about another policy"):
        two.register()
    record_path(one.report).unlink()
    with pytest.raises(WiringError, match="nobody knows which policy"):
        one.register()
    assert registry.names() == []


def test_a_policy_from_outside_can_be_registered_and_says_so(registry: Registry, make: Make) -> None:
    candidate = make()
    record_path(candidate.policy).unlink()
    candidate.register()
    assert registry.lineage("m", 1) == {candidate.id: {"external": "policy"}}
    assert "how it was made is not known" in (candidate.folder / "decision" / "model_card.md").read_text()


def test_the_decision_is_the_same_bytes_anywhere_and_holds_no_clock_or_version(make: Make, tmp_path: Path) -> None:
    first, second = make(seed=3), make(seed=3)
    a, b = first.register(), second.register()
    assert a.outputs == b.outputs
    text = "".join(path.read_text() for path in sorted((first.folder / "decision").iterdir()))
    assert str(tmp_path) not in text
    assert "2026-" not in text


def test_the_card_tells_what_the_records_say(make: Make) -> None:
    candidate = make(metrics=BAD)
    candidate.register()
    card = (candidate.folder / "decision" / "model_card.md").read_text()
    for fact in (
        "base_model: org/tiny",
        "**refused** (1 of 2 checks hold)",
        "Fails its gate at `win_rate ci_low > 0.5`: ci_low is 0.43, must be > 0.5.",
        "| objective.name | dpo |",
        f"| `human_feedback@1` feedback | `{FEEDBACK}` | `{RAW}` |",
        "| `win_rate` | 0.5 | 0.43 to 0.57 | 200 |",
        "| **fail** | `win_rate ci_low > 0.5` | 0.43 | 0.5 | 0.1001 |",
        "It was not compared with a version in use.",
    ):
        assert fact in card


def test_no_secret_of_the_environment_reaches_the_registry(
    registry: Registry, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "sk-very-secret")
    make().register()
    for path in (tmp_path / "mlflow.db", *tmp_path.glob("mlartifacts/**/*"), *tmp_path.glob("candidate-1/*.json")):
        assert not path.is_file() or b"sk-very-secret" not in path.read_bytes()


def benchmark(candidate: Candidate, metrics: dict[str, Any], **inputs: str) -> None:
    """A second report about the candidate."""
    folder = candidate.folder / f"benchmark-{len(candidate.more)}"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "report.html").write_text("<html>benchmark</html>")
    write_record(folder, "benchmarking@1", "report", {"policy": candidate.id, **inputs}, {})
    candidate.more.append(folder)


def test_the_gate_reads_the_metrics_of_every_report(registry: Registry, make: Make) -> None:
    candidate = make()
    benchmark(candidate, {"truth.accuracy": 0.4})
    check = {"metric": "truth.accuracy", "op": ">", "value": 0.5}
    record = candidate.register(gate=[check])
    assert record.metrics["gate.reason"] == "gate: truth.accuracy > 0.5"
    info = registry.version("m", 1)
    ids = {artifacts.content_id(candidate.report), artifacts.content_id(candidate.more[0])}
    assert set(info.tags["gate.report"].split()) == ids
    assert {registry.read_text(info, f"{folder}/report.html") for folder in ("report", "report-2")} == {
        "<html>report</html>",
        "<html>benchmark</html>",
    }
    metrics = registry._client.get_run(info.run_id).data.metrics
    assert (metrics["win_rate"], metrics["truth.accuracy"]) == (0.6, 0.4)


def test_one_metric_in_two_reports_is_a_mistake(make: Make) -> None:
    candidate = make()
    benchmark(candidate, {"win_rate": 0.9})
    with pytest.raises(WiringError, match="metric win_rate stands in two reports"):
        candidate.register()


def test_reports_about_other_policies_or_other_champions_are_refused(make: Make) -> None:
    candidate = make(champion="c" * 32 + ".dir")
    benchmark(candidate, {}, champion="9" * 32 + ".dir")
    with pytest.raises(WiringError, match=r"differ in their champion \(got 9+\.dir, c+\.dir\)"):
        candidate.register()
    candidate.more = [make(seed=1).report]
    with pytest.raises(WiringError, match="is about another policy"):
        candidate.register()


def test_who_was_compared_is_found_behind_the_answers(registry: Registry, make: Make) -> None:
    """An evaluation reads samples; the policies that wrote them stand in the lineage."""
    candidate = make()
    answers, theirs = "1" * 32 + ".dir", "2" * 32 + ".dir"
    lineage = {
        theirs: made("response_sampling@1", "samples", theirs, {"policy": "c" * 32 + ".dir", "dataset": DATASET}, {}),
        answers: made("response_sampling@1", "samples", answers, {"policy": BASE, "dataset": DATASET}, {}),
        "c" * 32 + ".dir": {"external": "policy"},
    }
    inputs = {"policy": candidate.id, "reference": answers, "champion": theirs}
    write_record(candidate.report, "evaluation@2", "report", inputs, {}, lineage)
    candidate.register()
    tags = registry.version("m", 1).tags
    assert (tags["reference.id"], tags["champion.compared"]) == (BASE, "c" * 32 + ".dir")


def test_data_are_found_by_type_whatever_their_ports_are_called(registry: Registry, make: Make) -> None:
    candidate = make()
    raw = "3" * 32 + ".dir"
    trained = {"dataset": DATASET, "policy": BASE, "more": raw}
    lineage = {raw: made("simulated_feedback@1", "raw", raw, {}, {})}
    write_record(candidate.policy, "policy_optimization@1", "policy", trained, {}, lineage)
    candidate.register()
    run = registry._client.get_run(registry.version("m", 1).run_id)
    named = {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs}
    assert named == {
        "feedback_curation.dataset": DATASET,
        "simulated_feedback.raw": raw,
        "human_feedback.feedback": FEEDBACK,
        "external raw_feedback": RAW,
    }
