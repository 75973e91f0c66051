"""The reference cache, the check before step 0, the metrics: each against values worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.contract import Choice
from components.errors import ArtifactError, ParamsError
from components.objectives import Objective, resolve
from components.policy_optimization.metrics import batch_means, estimates, report, wanted
from components.policy_optimization.prepare import check_step_zero
from components.sequences import Example, Sequence
from components.training import precomputed
from components.training.params import Compute
from components.training.references import Precomputed, as_values
from components.training.scorer import Scorer
from tests.components.training.helpers import pairs
from tests.tiny import tiny_model, tiny_tokenizer

EXAMPLES = [
    Example((Sequence(p, w, "chosen"), Sequence(p, r, "rejected")), {}, 1.0, str(i))
    for i, (p, w, r) in enumerate(pairs(9, longest=20))
]
SCORER = Scorer(shared=False, device=torch.device("cpu"), precision="fp32", budget=200)


def policy(name: str, **knobs: float) -> Objective:
    return resolve(Choice(name, dict(knobs)), "policy")


def test_ipo_does_not_change_when_both_completions_double_in_length() -> None:
    """A model without attention gives a repeated token the same log-probability everywhere: sums and lengths double."""
    ours, other = tiny_model(seed=0), tiny_model(seed=1)
    for model in (ours, other):
        for layer in model.model.layers:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)

    def loss(name: str, times: int) -> float:
        chosen, rejected = Sequence([5, 9], [9] * (3 * times), "chosen"), Sequence([5, 9], [9] * 2 * times, "rejected")
        example = Example((chosen, rejected))
        refs = SCORER.by_sequence(other, [example], "logps")[:, 0] - [0.0, len(rejected.completion_ids)]
        values = {one.key: float(value) for one, value in zip(example.sequences, refs, strict=True)}
        found = SCORER.quantities(ours, [example], policy(name).needs, {"ref": Precomputed(values)})
        return float(policy(name, beta=0.1).losses(found).detach())

    assert loss("ipo", 1) == pytest.approx(loss("ipo", 2), rel=1e-4)
    assert loss("dpo", 1) != pytest.approx(loss("dpo", 2), rel=1e-2)


def test_step_zero_passes_for_its_own_reference_and_names_the_causes_for_another() -> None:
    model = tiny_model()
    work: Any = SimpleNamespace(scorer=SCORER, train=EXAMPLES)

    def known(source: Any) -> Precomputed:
        shared = Scorer(shared=True, device=torch.device("cpu"), precision="fp32", budget=400)
        found = {"train": shared.by_sequence(source, EXAMPLES, "logps")}
        return Precomputed(as_values({"train": EXAMPLES}, found))

    check_step_zero(work, model, known(model))
    with pytest.raises(ArtifactError, match=r"step 0: .* Likely causes: reference log-probabilities of another model"):
        check_step_zero(work, model, known(tiny_model(seed=1)))


def cached(tmp_path: Path, **changes: Any) -> tuple[dict[str, np.ndarray], int]:
    calls = [0]

    def load() -> Any:
        calls[0] += 1
        return tiny_model()

    sections = {"train": EXAMPLES, "validation": []}
    arguments = {"reference": "a" * 32, "dataset": "b" * 32, "max_length": 64, "compute": Compute(), **changes}
    key = precomputed.cache_key(tokenizer=tiny_tokenizer(), scorer=SCORER, sections=sections, **arguments)
    return precomputed.logprobs(load, SCORER, sections, key, tmp_path), calls[0]


def test_reference_log_probabilities_are_computed_once_per_key(tmp_path: Path) -> None:
    first, calls = cached(tmp_path)
    again, more = cached(tmp_path)
    assert (calls, more) == (1, 0)
    np.testing.assert_array_equal(first["train"], again["train"])
    for change in (
        {"reference": "c" * 32},
        {"dataset": "c" * 32},
        {"max_length": 65},
        {"compute": Compute(precision="bf16")},
    ):
        assert cached(tmp_path, **change)[1] == 1, change


def test_stale_and_incomplete_caches_are_refused(tmp_path: Path) -> None:
    cached(tmp_path)
    folder = next((tmp_path / "reference_logprobs").iterdir())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["key"]["reference"] = "another"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"stale \(got another reference\)"):
        cached(tmp_path)
    manifest["key"]["reference"] = "a" * 32
    precomputed.write(folder, manifest["key"], {"train": np.zeros((2, 4), dtype=np.float32)})
    with pytest.raises(ArtifactError, match=r"incomplete \(got \(2, 4\) for train, want \(2, 9\)\)"):
        cached(tmp_path)


def test_a_reference_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    broken = tiny_model()
    torch.nn.init.constant_(broken.lm_head.weight, float("nan"))
    with pytest.raises(ArtifactError, match=r"not finite \(got 18 of 18 in train\)"):
        precomputed.logprobs(lambda: broken, SCORER, {"train": EXAMPLES}, {"key": 1}, tmp_path)


def tensors(**columns: Any) -> dict[str, Tensor]:
    return {name: torch.tensor(column) for name, column in columns.items()}


def line(quantities: dict[str, Tensor], objective: Objective) -> dict[str, float]:
    return batch_means({name: value.numpy() for name, value in report(quantities, objective).items()})


PAIR = tensors(
    chosen_logps=[-1.0, -4.0, -2.0],
    rejected_logps=[-3.0, -3.0, -2.0],
    chosen_ref_logps=[-2.0, -2.0, -2.0],
    rejected_ref_logps=[-2.0, -3.0, -2.0],
    chosen_lengths=[2.0, 2.0, 2.0],
    rejected_lengths=[1.0, 1.0, 1.0],
    preference_probability=[1.0, 1.0, 1.0],
    margin=[0.0, 0.0, 0.0],
)


def test_pair_metrics_by_hand() -> None:
    """beta 0.1; chosen log-ratios 1, -2, 0 and rejected -1, 0, 0: margins 0.2, -0.2, 0: right, wrong, tie."""
    assert line(PAIR, policy("dpo", beta=0.1)) == pytest.approx(
        {
            "rewards/chosen": 0.1 * (1 - 2 + 0) / 3,
            "rewards/rejected": 0.1 * (-1 + 0 + 0) / 3,
            "rewards/margins": 0.1 * (2 - 2 + 0) / 3,
            "rewards/accuracies": (1 + 0 + 0.5) / 3,
            "logps/chosen": -7 / 3,
            "logps/rejected": -8 / 3,
            "nll_loss": (0.5 + 2 + 1) / 3,
            "logratio/chosen_down": 1 / 3,
        }
    )


def test_a_labelled_tie_is_neither_right_nor_wrong() -> None:
    soft = {**PAIR, "preference_probability": torch.tensor([1.0, 1.0, 0.5])}
    assert line(soft, policy("dpo"))["rewards/accuracies"] == 0.5  # (1 + 0) / 2


def test_rewards_are_what_the_objective_says_they_are() -> None:
    """SimPO: beta S / n with beta 2 = 2 * (-.5, -2, -1): -7/3; IPO: beta (S - R) / n = .1 * (.5, -1, 0)."""
    assert line(PAIR, policy("simpo", beta=2.0))["rewards/chosen"] == pytest.approx(-7 / 3)
    assert line(PAIR, policy("ipo", beta=0.1))["rewards/chosen"] == pytest.approx(0.1 * (0.5 - 1) / 3)


def test_orpo_logs_odds_as_its_reward() -> None:
    """Mean log-probabilities ln(1/2) and ln(1/4): odds 1 and 1/3, log odds ratio ln 3."""
    free = tensors(
        chosen_logps=[2 * float(np.log(0.5))],
        rejected_logps=[float(np.log(0.25))],
        chosen_lengths=[2.0],
        rejected_lengths=[1.0],
        preference_probability=[1.0],
        margin=[0.0],
    )
    found = line(free, policy("orpo"))
    assert found["rewards/chosen"] == pytest.approx(0.0, abs=1e-6)
    assert found["rewards/margins"] == pytest.approx(np.log(3), rel=1e-5)
    assert "logratio/chosen_down" not in found


def test_an_objective_that_states_no_reward_logs_none() -> None:
    tokens = {"chosen": PAIR["chosen_logps"], "rejected": PAIR["rejected_logps"]}
    found = line({**PAIR, **tokens}, policy("unlikelihood"))
    assert {"logps/chosen", "logps/rejected", "nll_loss"} <= set(found)
    assert not any(name.startswith("rewards/") for name in found)


def test_labelled_metrics_split_by_class_and_leave_out_a_missing_one() -> None:
    rows = tensors(
        completion_logps=[-1.0, -3.0],
        completion_ref_logps=[-2.0, -2.0],
        completion_lengths=[2.0, 2.0],
        desirable=[1.0, 0.0],
        reference_kl=[0.25, 0.25],
    )
    found = line(rows, policy("kto", beta=0.1))
    assert found["rewards/chosen"] == pytest.approx(0.1)
    assert found["rewards/rejected"] == pytest.approx(-0.1)
    assert found["rewards/margins"] == pytest.approx(0.2)
    assert found["kl"] == 0.25
    one_class = line({name: value[:1] for name, value in rows.items()}, policy("kto"))
    assert "rewards/rejected" not in one_class
    assert "rewards/margins" not in one_class


def test_list_metrics_by_hand() -> None:
    """Rewards (beta 1) 2, 1, 3 in tiers 0, 1, 1: best 2, others mean 2; of the pairs (2, 1), (2, 3) one is right."""
    rows = tensors(
        listed_logps=[[2.0, 1.0, 3.0], [5.0, 1.0, 9.0]],
        listed_ref_logps=[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        listed_lengths=[[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
        listed_tiers=[[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]],
        listed_mask=[[True, True, True], [True, True, False]],
    )
    assert line(rows, policy("plackett_luce", beta=1.0)) == pytest.approx(
        {
            "rewards/chosen": (2 + 5) / 2,
            "rewards/rejected": (2 + 1) / 2,
            "rewards/margins": (0 + 4) / 2,
            "rewards/accuracies": (0.5 + 1) / 2,
        }
    )


def test_what_is_computed_is_what_is_needed_and_what_is_logged() -> None:
    names = [need.name for need in wanted(policy("unlikelihood"))]
    assert names[:4] == [
        "chosen_token_logps",
        "chosen_token_mask",
        "rejected_token_logps",
        "rejected_token_mask",
    ]
    assert "chosen_logps" in names
    assert not any("_ref_" in name for name in names)


def test_estimates_count_their_rows() -> None:
    values = {name: value.numpy() for name, value in report(PAIR, policy("dpo", beta=0.1)).items()}
    found = estimates({"loss": np.array([0.5, 0.7, 0.9]), **values}, ["p", "q", "q"], "validation")
    assert found["validation/loss"]["value"] == pytest.approx(0.7)
    assert found["validation/rewards/accuracies"]["n"] == 3


def test_objectives_of_another_step_and_unknown_ones_are_refused() -> None:
    with pytest.raises(ParamsError, match="does not fit this step"):
        policy("bradley_terry")
    with pytest.raises(ParamsError, match="Did you mean 'dpo'"):
        policy("dppo")
