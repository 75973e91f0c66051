"""A preference model that was saved, asked as a witness: of every kind, of members, and of the time before kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.contract import Choice, dump
from components.errors import ArtifactError
from components.preference_models import PREFERENCE_MODELS, Text, TextPair, Witness, is_scored
from components.preference_models.model import load_preference_model, network_reader, save_combined, write_card
from components.preference_models.network import load_network, new_network, save_network
from components.preference_models.table import READOUTS
from components.training.params import Compute
from tests.tiny import save_tiny_policy

CPU = Compute(threads=1)
TRAINED = [row.name for row in PREFERENCE_MODELS if row.facts["reads"] in READOUTS]
ASKED = [{"role": "user", "content": "the quick fox"}]
TEXTS = ["a dog", "a brown fox jumps", "please", "over the lazy dog."]
PAIRS = [TextPair(ASKED, a, b) for a in TEXTS for b in TEXTS]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("models") / "policy")


def kind_of(name: str) -> Choice:
    found: Choice = PREFERENCE_MODELS.choose("kind", {"name": name})
    return found


def saved(folder: Path, policy: Path, name: str = "scalar", seed: int = 0, mean: float = 0.0, std: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    save_network(*new_network(policy, kind_of(name), CPU, seed=seed), folder)
    write_card(folder, {"kind": dump(kind_of(name)), "reward": {"mean": mean, "std": std, "n": 8}})
    return folder


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_loaded_answers_as_what_was_saved(tmp_path: Path, policy: Path, name: str) -> None:
    loaded: Witness = load_preference_model(saved(tmp_path / "model", policy, name), CPU)
    network, tokenizer = new_network(policy, kind_of(name), CPU, seed=0)
    reader = network_reader(network, tokenizer, kind_of(name), CPU, 8192)
    texts = [Text(ASKED, text) for text in sorted(TEXTS)]
    values = [reading.values.tolist() for reading in reader(texts)]
    assert [reading.values.tolist() for reading in loaded.read(texts)] == values  # type: ignore[attr-defined]
    assert loaded.score(texts) == ([value[0] for value in values] if is_scored(name) else None)
    assert loaded.explain(PAIRS) is None


@pytest.mark.parametrize("name", TRAINED)
def test_a_loaded_model_is_exactly_antisymmetric(tmp_path: Path, policy: Path, name: str) -> None:
    """Also when two models of the same folder are asked, each about one order only."""
    folder = saved(tmp_path / "model", policy, name)
    there = load_preference_model(folder, CPU).compare(PAIRS)
    back = load_preference_model(folder, CPU).compare([TextPair(p.messages, p.b, p.a) for p in PAIRS])
    assert there == [1 - p for p in back]
    assert [p for pair, p in zip(PAIRS, there, strict=True) if pair.a == pair.b] == [0.5] * len(TEXTS)
    assert len(set(there)) > len(TEXTS)


def test_answers_do_not_depend_on_the_order_of_the_questions(tmp_path: Path, policy: Path) -> None:
    folder = saved(tmp_path / "model", policy, "gpm")
    texts = [Text(ASKED, text) for text in TEXTS * 2]
    there = load_preference_model(folder, CPU, micro_batch_tokens=40).read(texts)
    back = load_preference_model(folder, CPU, micro_batch_tokens=40).read(texts[::-1])
    assert [r.values.tolist() for r in there] == [r.values.tolist() for r in back[::-1]]
    assert load_preference_model(folder, CPU).compare([]) == []


@pytest.mark.parametrize("card", [{}, {"objective": {"name": "bradley_terry"}, "reward": {"mean": 0.0, "std": 1.0}}])
def test_a_card_without_a_kind_is_that_of_a_reward_model(tmp_path: Path, policy: Path, card: dict[str, object]) -> None:
    folder = saved(tmp_path / "model", policy)
    texts = [Text(ASKED, text) for text in TEXTS]
    wanted = load_preference_model(folder, CPU).score(texts)
    write_card(folder, card)
    assert load_preference_model(folder, CPU).score(texts) == wanted


def members(tmp_path: Path, policy: Path, rule: str) -> tuple[Path, list[Path]]:
    """A model over two members, whose scales are those of their cards, and the two."""
    parts = [
        saved(tmp_path / "a", policy, seed=1, mean=0.5, std=2.0),
        saved(tmp_path / "b", policy, "scalar_mean", seed=2, mean=-1.0, std=0.25),
    ]
    (tmp_path / "both").mkdir()
    save_combined([(part, f"id-{part.name}") for part in parts], kind_of(rule), tmp_path / "both")
    return tmp_path / "both", parts


@pytest.mark.parametrize(
    ("rule", "combine"),
    [
        ("mean_of_members", lambda a, b: (a + b) / 2),
        ("worst_of_members", min),
        ("mean_less_variance", lambda a, b: (a + b) / 2 - 0.5 * ((a - b) / 2) ** 2),
    ],
)
def test_members_are_combined_in_their_own_units(tmp_path: Path, policy: Path, rule: str, combine: object) -> None:
    folder, parts = members(tmp_path, policy, rule)
    texts = [Text(ASKED, text) for text in TEXTS]
    first, second = (load_preference_model(part, CPU).score(texts) for part in parts)
    assert first is not None
    assert second is not None
    wanted = [combine((a - 0.5) / 2, (b + 1) / 0.25) for a, b in zip(first, second, strict=True)]  # type: ignore[operator]
    both = load_preference_model(folder, CPU)
    assert both.score(texts) == pytest.approx(wanted)
    assert both.compare(PAIRS) == [1 - p for p in both.compare([TextPair(p.messages, p.b, p.a) for p in PAIRS])]
    assert json.loads((folder / "card.json").read_text())["ids"] == ["id-a", "id-b"]


def test_members_without_scores_or_none_at_all_are_refused(tmp_path: Path, policy: Path) -> None:
    vector = saved(tmp_path / "vector", policy, "gpm")
    write_card(vector, {"kind": dump(kind_of("gpm")), "reward": {}})
    (tmp_path / "both").mkdir()
    with pytest.raises(ArtifactError, match="with scores"):
        save_combined([(vector, "id")], kind_of("mean_of_members"), tmp_path / "both")
    with pytest.raises(ArtifactError, match="needs members"):
        save_combined([], kind_of("mean_of_members"), tmp_path / "both")
    write_card(tmp_path / "both", {"kind": {"name": "mean_of_members"}})
    with pytest.raises(ArtifactError, match="names its members"):
        load_preference_model(tmp_path / "both", CPU)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"name": "scaler"}, "Did you mean 'scalar'"),
        ({"name": "scalar", "revision": 99}, "is at revision 1 here"),
        ({"name": "gpm"}, "one linear head of width 2"),
    ],
)
def test_a_card_of_another_kind_is_refused(tmp_path: Path, policy: Path, kind: dict[str, object], message: str) -> None:
    folder = saved(tmp_path / "model", policy)
    write_card(folder, {"kind": kind})
    with pytest.raises(ArtifactError, match=message):
        load_preference_model(folder, CPU)


def test_a_folder_without_a_card_is_refused(policy: Path) -> None:
    with pytest.raises(ArtifactError, match=r"card\.json: cannot be read"):
        load_preference_model(policy, CPU)


def test_a_network_loads_whole_or_not_at_all(tmp_path: Path, policy: Path) -> None:
    """What is missing, too many, of another shape or lies beside the weights is named; a policy is no network."""
    folder = saved(tmp_path / "model", policy)
    whole = load_file(folder / "model.safetensors")
    ones = torch.ones(3, 3)
    for changed, message in (
        ({**whole, "lm_head.weight": ones}, r"have no place in the model .*\(got lm_head.weight\)"),
        (
            {**whole, "score.weight": ones},
            r"another shape than the config says \(got score.weight \[3, 3\] for \[1, 32\]",
        ),
        ({k: v for k, v in whole.items() if k != "model.norm.weight"}, r"missing \(got none for model.norm.weight\)"),
    ):
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ArtifactError, match=rf"{message}.*Pass the output of reward_modeling, or rerun that"):
            load_preference_model(folder, CPU)
    save_file(whole, folder / "model.safetensors", {"format": "pt"})
    load_preference_model(folder, CPU)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="an adapter lies beside the model"):
        load_preference_model(folder, CPU)
    with pytest.raises(ArtifactError, match=r"missing \(got none for score.weight\). Is it a policy"):
        load_network(policy, kind_of("scalar"), CPU)


def test_a_member_that_cannot_be_asked_is_refused_before_it_is_copied(tmp_path: Path, policy: Path) -> None:
    """Weights that are no numbers, half a file, a scale that is none."""
    (tmp_path / "both").mkdir()
    good, bad = saved(tmp_path / "good", policy), saved(tmp_path / "bad", policy)

    def combine() -> None:
        save_combined([(good, "a"), (bad, "b")], kind_of("mean_of_members"), tmp_path / "both")

    whole = load_file(bad / "model.safetensors")
    save_file({**whole, "score.weight": whole["score.weight"] * torch.nan}, bad / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtifactError, match=r"bad: gives a text no finite score \(got \[nan\]\)"):
        combine()
    content = (bad / "model.safetensors").read_bytes()
    (bad / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="bad: the model cannot be loaded"):
        combine()
    for reward in ({"mean": 0.0, "std": "NaN"}, {"mean": 0.0, "std": 0.0}, {"mean": None, "std": 1.0}, {"std": 1.0}):
        (bad / "card.json").write_text(
            json.dumps({"kind": {"name": "scalar"}, "reward": reward}).replace('"NaN"', "NaN")
        )
        with pytest.raises(ArtifactError, match="says no mean and deviation of scores"):
            combine()
