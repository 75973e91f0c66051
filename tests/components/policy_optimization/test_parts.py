"""Scoring layouts, the reference cache, the reference point, the metrics: each against values worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.contract import Choice
from components.errors import ArtifactError, ParamsError
from components.policy_optimization import reference
from components.policy_optimization.data import Example
from components.policy_optimization.metrics import batch_means, estimates
from components.policy_optimization.mismatched import examples as mismatched_examples
from components.policy_optimization.mismatched import reference_point, rotation
from components.policy_optimization.objective import resolve
from components.policy_optimization.prepare import check_step_zero
from components.policy_optimization.scoring import Scorer, share_prompts
from components.training.params import Compute
from tests.components.training.helpers import pairs
from tests.tiny import tiny_model, tiny_tokenizer

GIVEN = {"preference_probability": 1.0, "margin": 0.0}
EXAMPLES = [Example(p, (w, r), 1.0, str(i), GIVEN) for i, (p, w, r) in enumerate(pairs(9, longest=20))]
APART = Scorer(shared=False, device=torch.device("cpu"), precision="fp32", budget=200)
TOGETHER = replace(APART, shared=True)


def test_both_layouts_and_any_budget_give_the_same_numbers() -> None:
    model = tiny_model()
    plain = APART.sums(model, EXAMPLES)
    assert plain.shape == (2, 9)
    np.testing.assert_allclose(TOGETHER.sums(model, EXAMPLES), plain, atol=1e-5, rtol=1e-6)
    np.testing.assert_allclose(replace(APART, budget=1).sums(model, EXAMPLES), plain, atol=1e-5, rtol=1e-6)


def test_quantities_have_one_value_per_example_and_carry_what_was_given() -> None:
    found = TOGETHER.quantities(tiny_model(), EXAMPLES[:3], ("chosen", "rejected"))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == dict.fromkeys(
        ["chosen_logps", "rejected_logps", "chosen_lengths", "rejected_lengths", *GIVEN], (3,)
    )
    assert found["rejected_lengths"].tolist() == [len(e.completions[1]) for e in EXAMPLES[:3]]


def test_prompts_are_shared_where_that_saves_a_fifth() -> None:
    model = tiny_model()
    long = [Example([7] * 20, ([8] * 4, [9] * 4), 1.0, "", GIVEN)] * 4  # 48 tokens apart, 28 together
    short = [Example([7] * 2, ([8] * 20, [9] * 20), 1.0, "", GIVEN)] * 4  # 44 apart, 42 together
    assert share_prompts("auto", model, long)
    assert not share_prompts("auto", model, short)
    assert share_prompts("always", model, short)
    assert not share_prompts("never", model, long)
    assert not share_prompts("always", model, [replace(e, completions=e.completions[:1]) for e in long])


def test_a_model_that_ignores_the_mask_is_not_given_shared_prompts(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    real = model.model.forward
    model.model.forward = lambda **kwargs: real(**{**kwargs, "attention_mask": None, "position_ids": None})
    assert not share_prompts("always", model, EXAMPLES)
    assert "does not share prompts" in caplog.text


def test_ipo_does_not_change_when_both_completions_double_in_length() -> None:
    """A model without attention gives a repeated token the same log-probability everywhere: sums and lengths double."""
    policy, other = tiny_model(seed=0), tiny_model(seed=1)
    for model in (policy, other):
        for layer in model.model.layers:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)

    def loss(name: str, times: int) -> float:
        example = Example([5, 9], ([9] * (3 * times), [9] * times + [9] * times), 1.0, "", GIVEN)
        refs = other_sums(example)
        found = APART.quantities(policy, [example.with_given(refs)], ("chosen", "rejected"))
        return float(resolve(Choice(name, {"beta": 0.1})).losses(found).detach())

    def other_sums(example: Example) -> dict[str, float]:
        chosen, rejected = APART.sums(other, [example])[:, 0]
        return {
            "chosen_ref_logps": float(chosen),
            "rejected_ref_logps": float(rejected) - 1.0 * len(example.completions[1]),
        }

    assert loss("ipo", 1) == pytest.approx(loss("ipo", 2), rel=1e-4)
    assert loss("dpo", 1) != pytest.approx(loss("dpo", 2), rel=1e-2)


def test_step_zero_passes_for_its_own_reference_and_names_the_causes_for_another() -> None:
    model = tiny_model()
    objective = resolve(Choice("dpo", {"beta": 0.1}))

    def known(source: Any) -> list[Example]:
        values = TOGETHER.sums(source, EXAMPLES)
        return [
            e.with_given({"chosen_ref_logps": float(w), "rejected_ref_logps": float(r)})
            for e, w, r in zip(EXAMPLES, *values, strict=True)
        ]

    check_step_zero(APART, model, known(model), objective)
    with pytest.raises(ArtifactError, match=r"step 0: .* Likely causes: reference log-probabilities of another model"):
        check_step_zero(APART, model, known(tiny_model(seed=1)), objective)


def test_rotation_never_meets_itself() -> None:
    assert rotation([4, 7, 5]) == [(4, 7), (7, 5), (5, 4)]  # a reversal would leave 7 with itself
    with pytest.raises(ParamsError, match="got a batch of 1"):
        rotation([3])


def test_mismatched_examples_keep_the_prompt_and_take_the_other_completion() -> None:
    single = [replace(e, completions=e.completions[:1]) for e in EXAMPLES[:2]]
    found = mismatched_examples([(0, 1)], single)[0]
    assert found.prompt_ids == single[0].prompt_ids
    assert found.completions == single[1].completions


def test_the_reference_point_is_a_mean_of_log_ratios_at_least_zero() -> None:
    assert reference_point(np.array([[-1.0, -2.0]]), np.array([[-2.0, -4.0]])) == 1.5  # ((-1+2) + (-2+4)) / 2
    assert reference_point(np.array([[-3.0]]), np.array([[-1.0]])) == 0.0
    assert reference_point(np.array([[-1.0, np.nan]]), np.array([[-2.0, -4.0]])) == 1.0


def cached(tmp_path: Path, **changes: Any) -> tuple[dict[str, np.ndarray], int]:
    calls = [0]

    def load() -> Any:
        calls[0] += 1
        return tiny_model()

    sections = {"train": EXAMPLES, "validation": []}
    arguments = {"reference": "a" * 32, "dataset": "b" * 32, "max_length": 64, "compute": Compute(), **changes}
    key = reference.cache_key(tokenizer=tiny_tokenizer(), scorer=APART, sections=sections, **arguments)
    return reference.logprobs(load, APART, sections, key, tmp_path), calls[0]


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
    reference.write(folder, manifest["key"], {"train": np.zeros((2, 4), dtype=np.float32)})
    with pytest.raises(ArtifactError, match=r"incomplete \(got \(2, 4\) for train, want \(2, 9\)\)"):
        cached(tmp_path)


def test_a_reference_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    broken = tiny_model()
    torch.nn.init.constant_(broken.lm_head.weight, float("nan"))
    with pytest.raises(ArtifactError, match=r"not finite \(got 18 of 18 in train\)"):
        reference.logprobs(lambda: broken, APART, {"train": EXAMPLES}, {"key": 1}, tmp_path)


def values(**columns: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(column) for name, column in columns.items()}


PAIR_VALUES = values(
    chosen_logps=[-1.0, -4.0, -2.0],
    rejected_logps=[-3.0, -3.0, -2.0],
    chosen_ref_logps=[-2.0, -2.0, -2.0],
    rejected_ref_logps=[-2.0, -3.0, -2.0],
    chosen_lengths=[2.0, 2.0, 2.0],
    rejected_lengths=[1.0, 1.0, 1.0],
    preference_probability=[1.0, 1.0, 1.0],
    margin=[0.0, 0.0, 0.0],
    loss=[0.5, 0.7, 0.9],
)


def test_pair_metrics_by_hand() -> None:
    """beta 0.1; chosen log-ratios 1, -2, 0 and rejected -1, 0, 0: margins 0.2, -0.2, 0: right, wrong, tie."""
    line = batch_means(PAIR_VALUES, resolve(Choice("dpo", {"beta": 0.1})))
    assert line == pytest.approx(
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
    soft = {**PAIR_VALUES, "preference_probability": np.array([1.0, 1.0, 0.5])}
    assert batch_means(soft, resolve(Choice("dpo")))["rewards/accuracies"] == 0.5  # (1 + 0) / 2


def test_log_odds_without_a_reference_by_hand() -> None:
    """Mean log-probabilities ln(1/2) and ln(1/4): odds 1 and 1/3, log odds ratio ln 3."""
    free = values(
        chosen_logps=[2 * np.log(0.5)],
        rejected_logps=[np.log(0.25)],
        chosen_lengths=[2.0],
        rejected_lengths=[1.0],
        preference_probability=[1.0],
    )
    line = batch_means(free, resolve(Choice("orpo")))
    assert line["log_odds_chosen"] == pytest.approx(np.log(3))
    assert line["log_odds_ratio"] == pytest.approx(np.log(3 / 4))  # log sigmoid(ln 3) = ln(3 / (1 + 3))
    assert "logratio/chosen_down" not in line


def test_labelled_metrics_split_by_class_and_leave_out_a_missing_one() -> None:
    rows = values(
        completion_logps=[-1.0, -3.0],
        completion_ref_logps=[-2.0, -2.0],
        completion_lengths=[2.0, 2.0],
        desirable=[1.0, 0.0],
        reference_kl=[0.25, 0.25],
    )
    line = batch_means(rows, resolve(Choice("kto", {"beta": 0.1})))
    assert line["rewards/chosen"] == pytest.approx(0.1)
    assert line["rewards/rejected"] == pytest.approx(-0.1)
    assert line["rewards/margins"] == pytest.approx(0.2)
    assert line["kl"] == 0.25
    one_class = batch_means({name: array[:1] for name, array in rows.items()}, resolve(Choice("kto")))
    assert "rewards/rejected" not in one_class
    assert "rewards/margins" not in one_class


def test_estimates_count_their_rows() -> None:
    found = estimates(PAIR_VALUES, resolve(Choice("dpo")), ["p", "q", "q"], "validation")
    assert found["validation/loss"]["value"] == pytest.approx(0.7)
    assert found["validation/rewards/accuracies"]["n"] == 3


def test_objectives_of_another_step_and_unknown_ones_are_refused() -> None:
    with pytest.raises(ParamsError, match="does not fit this step"):
        resolve(Choice("bradley_terry"))
    with pytest.raises(ParamsError, match="Did you mean 'dpo'"):
        resolve(Choice("dppo"))
