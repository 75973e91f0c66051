"""A reward is a property of the text: not of its padding, its batch, its pad id or the file it was loaded from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from components.contract import Choice
from components.errors import ArtifactError
from components.objectives import parse
from components.preference_models.network import load_network, new_network, save_network
from components.preference_models.readings import measurer, pair_logits, read_rows, readings
from components.sequences import Example, Sequence
from components.training.batching import collate, collate_shared
from components.training.params import Compute
from components.training.scorer import Scorer, share_prompts
from tests.tiny import save_tiny_policy, tiny_model, tiny_tokenizer

CPU = Compute(threads=1)
EOS = tiny_tokenizer().eos_token_id
SEGMENTS = Choice("scalar_segments")
SCALAR, MEAN, GPM = Choice("scalar"), Choice("scalar_mean"), Choice("gpm", {"width": 4, "temperature": 0.1})
ROWS = [
    Sequence([1, 30, 31, 32], [40, 41, EOS]),
    Sequence([1, 30], [50, 51, 52, 53, 54, 55, 56, EOS]),
    Sequence([1, 30, EOS, 31, EOS, 33, 34, 35], [40, EOS]),  # EOS inside the prompt, as chat templates write it
    Sequence([1], [EOS]),
]


def read(model: Any, rows: list[Sequence], kind: Choice, **settings: Any) -> np.ndarray:
    common = {"device": "cpu", "precision": "fp32", "micro_batch_tokens": 4096}
    return read_rows(model, kind, rows, **{**common, **settings})


def reward_of(model: Any, rows: list[Sequence], **settings: Any) -> list[float]:
    return read(model, rows, SCALAR, **settings)[:, 0].tolist()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture(scope="module")
def model(policy: Path) -> Any:
    return new_network(policy, SCALAR, CPU, seed=0)[0]


@pytest.fixture(scope="module")
def saved(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "reward"
    folder.mkdir()
    save_network(*new_network(policy, SCALAR, CPU, seed=0), folder)
    return folder


def by_definition(model: Any, row: Sequence) -> float:
    """The head applied to the backbone's last hidden state of one unpadded row."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    with torch.no_grad():
        return model.score(model.base_model(input_ids=ids).last_hidden_state[0, -1]).item()


def test_a_score_is_the_head_at_the_last_token(model: Any) -> None:
    assert reward_of(model, ROWS) == pytest.approx([by_definition(model, row) for row in ROWS], abs=1e-5)


@pytest.mark.parametrize("budget", [1, 12, 25, 4096])
def test_scores_do_not_depend_on_the_batch(model: Any, budget: int) -> None:
    alone = [reward_of(model, [row])[0] for row in ROWS]
    assert reward_of(model, ROWS, micro_batch_tokens=budget) == pytest.approx(alone, abs=1e-5)
    assert reward_of(model, ROWS[::-1], micro_batch_tokens=budget)[::-1] == pytest.approx(alone, abs=1e-5)


def test_scores_are_those_of_left_padded_rows(model: Any) -> None:
    width = max(len(row) for row in ROWS)
    ids, mask = torch.zeros(len(ROWS), width, dtype=torch.long), torch.zeros(len(ROWS), width, dtype=torch.long)
    for i, row in enumerate(ROWS):
        ids[i, width - len(row) :] = torch.tensor([*row.prompt_ids, *row.completion_ids])
        mask[i, width - len(row) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
        left = model.score(hidden[:, -1]).squeeze(-1).tolist()
    assert reward_of(model, ROWS) == pytest.approx(left, abs=1e-5)


def test_the_last_token_is_the_last_that_the_mask_shows() -> None:
    batch = collate(ROWS, "cpu")
    width = batch.input_ids.shape[1]
    assert (batch.last % width).tolist() == (batch.attention_mask.sum(1) - 1).tolist()
    assert batch.input_ids.flatten()[batch.last].tolist() == [EOS] * len(ROWS)


def test_completions_that_share_their_prompt_score_as_if_alone(model: Any) -> None:
    groups = [([1, 30, 31], ([40, 41, 42, EOS], [EOS])), ([1, 30, EOS, 31, 32], ([EOS], [40, 43, EOS]))]
    rows = [Sequence(prompt, completions[k]) for k in range(2) for prompt, completions in groups]
    with torch.no_grad():
        shared = readings(model, SCALAR, collate_shared(rows, [0, 1, 0, 1], "cpu"))[:, 0].tolist()
    assert shared == pytest.approx(reward_of(model, rows), abs=1e-5)


def test_the_pad_id_may_be_that_of_eos(tmp_path: Path) -> None:
    """The trap: with pad == eos, looking for the last token that is not padding finds the one before the EOS."""
    tiny_model().save_pretrained(tmp_path / "policy")
    tiny_tokenizer(pad_is_eos=True).save_pretrained(tmp_path / "policy")
    model, tokenizer = new_network(tmp_path / "policy", SCALAR, CPU, seed=0)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert reward_of(model, ROWS) == pytest.approx([by_definition(model, row) for row in ROWS], abs=1e-5)
    save_network(model, tokenizer, tmp_path / "reward")
    other = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")
    ids = torch.tensor([[*ROWS[0].prompt_ids, *ROWS[0].completion_ids]])
    with torch.no_grad():
        assert other(input_ids=ids).logits.item() == pytest.approx(reward_of(model, ROWS[:1])[0], abs=1e-5)
        with pytest.raises(ValueError, match="padding"):  # it refuses what it would get wrong
            other(input_ids=ids.repeat(2, 1))


def test_transformers_reads_the_folder_and_agrees(saved: Path, model: Any) -> None:
    other = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    for row, ours in zip(ROWS, reward_of(model, ROWS), strict=True):
        ids = [*row.prompt_ids, *row.completion_ids]
        padded = torch.tensor([ids + [tiny_tokenizer().pad_token_id] * 3])
        mask = torch.tensor([[1] * len(ids) + [0] * 3])
        with torch.no_grad():
            assert other(input_ids=padded, attention_mask=mask).logits.item() == pytest.approx(ours, abs=1e-5)


def test_scores_after_reloading_are_bit_for_bit_the_same(saved: Path, model: Any) -> None:
    loaded, tokenizer = load_network(saved, SCALAR, CPU)
    assert reward_of(loaded, ROWS) == reward_of(model, ROWS)
    assert tokenizer.chat_template == tiny_tokenizer().chat_template


def test_saving_writes_the_same_bytes_and_no_path(saved: Path, policy: Path, tmp_path: Path) -> None:
    save_network(*new_network(policy, SCALAR, CPU, seed=0), tmp_path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes()
    assert str(policy.parent) not in (tmp_path / "config.json").read_text()
    assert not list(tmp_path.glob("*.bin"))


def test_gradients_reach_backbone_and_head(policy: Path) -> None:
    model, _ = new_network(policy, SCALAR, CPU, seed=0)
    readings(model, SCALAR, collate(ROWS, "cpu")).sum().backward()
    assert model.score.weight.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_head_has_variance_1_over_hidden_plus_1_and_a_seed_of_its_own(policy: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = new_network(policy, SCALAR, CPU, seed=5)[0].score.weight
    torch.manual_seed(2)
    assert torch.equal(first, new_network(policy, SCALAR, CPU, seed=5)[0].score.weight)
    assert not torch.equal(first, new_network(policy, SCALAR, CPU, seed=6)[0].score.weight)
    wide = save_tiny_policy(tmp_path / "wide", hidden=1024, layers=1)
    weight = new_network(wide, SCALAR, CPU, seed=0)[0].score.weight
    assert weight.std().item() == pytest.approx(1 / math.sqrt(1025), rel=0.1)


def test_another_architecture_works_too(tmp_path: Path) -> None:
    """GPT-2 names its backbone differently and has learned positions."""
    config = GPT2Config(
        vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=EOS
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model, _ = new_network(tmp_path, SCALAR, CPU, seed=0)
    assert reward_of(model, ROWS) == pytest.approx([by_definition(model, row) for row in ROWS], abs=1e-5)


def test_a_policy_is_not_a_reward_model(policy: Path) -> None:
    with pytest.raises(ArtifactError, match="Is it a policy"):
        load_network(policy, SCALAR, CPU)


def test_a_head_with_several_values_is_refused(policy: Path, tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(policy, num_labels=3).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match="got 3 values"):
        load_network(tmp_path, SCALAR, CPU)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        load_network(tmp_path, SCALAR, CPU)


def hidden_of(model: Any, row: Sequence) -> torch.Tensor:
    """[T, H] last hidden states of one unpadded row."""
    with torch.no_grad():
        return model.base_model(input_ids=torch.tensor([[*row.prompt_ids, *row.completion_ids]])).last_hidden_state[0]


def test_a_mean_is_over_the_tokens_of_the_completion(model: Any) -> None:
    """Each token's value is read at that token, the EOS included, whether the prompt's row is shared or not."""
    wanted = [model.score(hidden_of(model, row)[len(row.prompt_ids) :]).mean().item() for row in ROWS]
    assert read(model, ROWS, MEAN)[:, 0] == pytest.approx(wanted, abs=1e-5)
    groups = [([1, 30, 31], ([40, 41, 42, EOS], [EOS])), ([1, 30, EOS, 31, 32], ([EOS], [40, 43, EOS]))]
    rows = [Sequence(prompt, completions[k]) for k in range(2) for prompt, completions in groups]
    with torch.no_grad():
        shared = readings(model, MEAN, collate_shared(rows, [0, 1, 0, 1], "cpu"))[:, 0].tolist()
    assert shared == pytest.approx(read(model, rows, MEAN)[:, 0], abs=1e-5)


def test_every_position_is_that_of_the_completion_tokens() -> None:
    rows = [
        Sequence([1, 30], [40, 41, EOS]),
        Sequence([1], [43, EOS]),
        Sequence([1, 30], [42, EOS]),
        Sequence([1], [EOS]),
    ]
    batch = collate_shared(rows, [0, 1, 0, 1], "cpu")
    assert batch.input_ids.flatten()[batch.own].tolist() == batch.targets.tolist()


def test_a_vector_is_the_head_at_the_last_token(policy: Path) -> None:
    model, _ = new_network(policy, GPM, CPU, seed=0)
    found = read(model, ROWS, GPM)
    assert found.shape == (4, 4)
    with torch.no_grad():
        wanted = [model.score(hidden_of(model, row)[-1]).tolist() for row in ROWS]
    assert found == pytest.approx(np.array(wanted), abs=1e-5)


def test_no_rows_have_no_readings(model: Any) -> None:
    assert read(model, [], SCALAR).shape == (0, 1)


PAIRS = [
    Example((Sequence(list(range(30, 60)), [61, 62, EOS], "chosen"), Sequence(list(range(30, 60)), [EOS], "rejected"))),
    Example((Sequence([1, 40], [63, EOS], "chosen"), Sequence([1, 40], [64, 65, 66, EOS], "rejected"))),
]
NEEDS = [parse(name, "pair") for name in ("chosen_scores", "rejected_scores", "pair_logits")]


@pytest.mark.parametrize(("kind", "needs"), [(SCALAR, NEEDS), (MEAN, NEEDS), (GPM, NEEDS[2:])])
def test_the_scorer_of_training_says_what_is_read_of_each_alone(policy: Path, kind: Choice, needs: list[Any]) -> None:
    """With shared prompts too, and with the same gradient."""
    model, _ = new_network(policy, kind, CPU, seed=0)
    found = []
    for shared in (False, True):
        scorer = Scorer(shared, torch.device("cpu"), "fp32", 4096, measurer(kind))
        quantities = scorer.quantities(model, PAIRS, needs)
        gradients = torch.autograd.grad(quantities["pair_logits"].sum(), list(model.parameters()))
        found.append((quantities, gradients))
    for plain, together in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(together, plain, atol=1e-4, rtol=1e-4)
    alone = [torch.from_numpy(read(model, [pair.sequences[k] for pair in PAIRS], kind)) for k in (0, 1)]
    wanted = {"pair_logits": pair_logits(kind, *alone)}
    if len(needs) > 1:
        wanted |= {"chosen_scores": alone[0][:, 0], "rejected_scores": alone[1][:, 0]}
    for quantities, _ in found:
        assert quantities.keys() == wanted.keys()
        for name, value in wanted.items():
            assert quantities[name].tolist() == pytest.approx(value.tolist(), abs=1e-4)


def test_a_model_that_ignores_the_cuts_shares_no_prompts(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def share() -> bool:
        values = lambda model, batch: readings(model, SCALAR, batch)  # noqa: E731
        return share_prompts("always", PAIRS, model, values, torch.device("cpu"))

    assert share()
    backbone = model.base_model.forward

    def deaf(**arguments: Any) -> Any:
        arguments.pop("shared_cuts", None)
        return backbone(**arguments)

    monkeypatch.setattr(model.base_model, "forward", deaf)
    assert not share()


def test_segments_are_read_at_their_ends_whatever_stands_between(model: Any) -> None:
    """Spans 0..2 and 3..5 of the completion: the head at its second and its fifth token, summed; alone and together."""
    prompt, completion = [1, 30, 31], [40, 41, 42, 43, 44, EOS]
    parted = Sequence(prompt, completion, spans=((0, 2), (3, 5)))
    with torch.no_grad():
        hidden = model.base_model(input_ids=torch.tensor([[*prompt, *completion]])).last_hidden_state[0]
        at_token = model.score(hidden).squeeze(-1).tolist()
    expected = at_token[len(prompt) + 1] + at_token[len(prompt) + 4]
    for rows in ([parted], [*ROWS, parted]):
        assert read(model, rows, SEGMENTS)[-1, 0] == pytest.approx(expected, abs=1e-5)
    assert read(model, ROWS, SEGMENTS) == pytest.approx(read(model, ROWS, SCALAR), abs=1e-5)  # no spans: one segment
    whole = Sequence(prompt, completion, spans=((1, 3),))
    mean = (at_token[len(prompt) + 1] + at_token[len(prompt) + 2]) / 2
    assert read(model, [whole, parted], MEAN)[0, 0] == pytest.approx(mean, abs=1e-5)


def test_segments_are_read_in_shared_rows_too(model: Any) -> None:
    prompt = [1, 30, 31]
    rows = [Sequence(prompt, [40, 41, 42, EOS], spans=((0, 1), (2, 4))), Sequence(prompt, [50, EOS], spans=((0, 2),))]
    with torch.no_grad():
        together = readings(model, SEGMENTS, collate_shared(rows, [0, 0], "cpu"))
        apart = readings(model, SEGMENTS, collate(rows, "cpu"))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
