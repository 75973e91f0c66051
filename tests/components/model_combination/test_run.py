"""Several reward models as one: what it says is what its members say, in their own units."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import Choice, dump, run_component
from components.errors import ArtifactError, ParamsError
from components.preference_models import Text
from components.preference_models.model import load_preference_model, write_card
from components.preference_models.network import new_network, save_network
from components.training.params import Compute
from tests.tiny import save_tiny_policy

CPU = Compute(threads=1)
TEXTS = [Text([{"role": "user", "content": "the fox"}], text) for text in ("a dog", "quick", "a lazy fox")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two reward models, one with deviation 2, one with .5."""
    folder = tmp_path_factory.mktemp("models")
    policy = save_tiny_policy(folder / "policy")
    for seed, std in enumerate((2.0, 0.5)):
        (folder / str(seed)).mkdir()
        save_network(*new_network(policy, Choice("scalar"), CPU, seed=seed), folder / str(seed))
        write_card(folder / str(seed), {"kind": dump(Choice("scalar")), "reward": {"mean": 1.0, "std": std, "n": 2}})
    return [folder / "0", folder / "1"]


@pytest.mark.parametrize("name", ["worst_of_members", "mean_of_members"])
def test_the_combined_model_says_what_its_members_say(tmp_path: Path, models: list[Path], name: str) -> None:
    made = run_component("model_combination", {"kind": {"name": name}}, {"models": models}, {"model": tmp_path / "m"})
    first, second = (load_preference_model(path, CPU).score(TEXTS) for path in models)
    units = [[(a - 1) / 2, (b - 1) / 0.5] for a, b in zip(first or [], second or [], strict=True)]
    wanted = [min(pair) if name == "worst_of_members" else sum(pair) / 2 for pair in units]
    assert load_preference_model(tmp_path / "m", CPU).score(TEXTS) == pytest.approx(wanted)
    assert made.metrics == {"members": 2}


def test_the_order_of_the_members_does_not_matter(tmp_path: Path, models: list[Path]) -> None:
    made = [
        run_component("model_combination", {}, {"models": order}, {"model": tmp_path / str(i)}).outputs
        for i, order in enumerate((models, models[::-1]))
    ]
    assert made[0] == made[1]


def test_a_kind_that_is_trained_and_a_member_without_scores_are_refused(tmp_path: Path, models: list[Path]) -> None:
    with pytest.raises(ParamsError, match="does not fit this step"):
        run_component("model_combination", {"kind": {"name": "scalar"}}, {"models": models}, {"model": tmp_path / "m"})
    write_card(tmp_path, {"kind": {"name": "gpm"}})
    with pytest.raises(ArtifactError, match="with scores"):
        run_component("model_combination", {}, {"models": [tmp_path]}, {"model": tmp_path.parent / "m"})
