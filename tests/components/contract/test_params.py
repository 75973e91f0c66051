"""Parameters are strict: every mistake in YAML is an error that says where, what and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from components.contract.params import (
    EXECUTION,
    as_yaml,
    build,
    dump,
    field_docs,
    merge,
    missing_keys,
    override,
    read_params_file,
)
from components.contract.ranges import Range
from components.errors import ParamsError


@dataclass(frozen=True)
class Inner:
    rank: int = 0
    """The rank."""
    alpha: float = 1.0


@dataclass(frozen=True)
class Params:
    learning_rate: float = 1e-5
    """Peak learning rate,
    in plain words."""
    steps: int = 10
    shuffle: bool = True
    """Whether to shuffle."""
    schedule: Literal["cosine", "linear"] = "cosine"
    bits: Literal[8, 16] = 16
    name: str = ""
    limit: int | None = None
    lora: Inner = field(default_factory=lambda: Inner(alpha=32.0))
    betas: tuple[float, float] = (0.9, 0.999)
    sources: tuple[str, ...] = ()
    share: Annotated[float, Range(at_least=0, at_most=1)] = 0.5
    every: int = field(default=200, metadata=EXECUTION)
    weights: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        if self.steps < 0:
            raise ParamsError(f"steps: must not be negative (got {self.steps}). Use 0 for none.")


@dataclass(frozen=True)
class Required:
    path: str
    """Where."""


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"learnin_rate": 1.0}, r"p: unknown key 'learnin_rate'\. Did you mean 'learning_rate'\?"),
        ({"lora": {"rnk": 4}}, r"p\.lora: unknown key 'rnk'\. Did you mean 'rank'\?"),
        ({"learning_rate": "0.1"}, r"p\.learning_rate: must be float \(got '0\.1' \(str\)\)\. Remove the quotes"),
        ({"learning_rate": "1e999"}, r"p\.learning_rate: must be a finite number"),
        ({"steps": "1e3"}, r"p\.steps: must be int"),
        ({"learning_rate": "fast"}, r"Write a number"),
        ({"learning_rate": float("nan")}, r"p\.learning_rate: must be a finite number \(got nan\)"),
        ({"learning_rate": float("inf")}, r"finite"),
        ({"steps": True}, r"p\.steps: must be int \(got True \(bool\)\)"),
        ({"steps": 1.5}, r"must be a whole number \(got 1\.5\)"),
        ({"steps": -1}, r"p\.steps: must not be negative \(got -1\)\. Use 0"),
        ({"shuffle": 1}, r"p\.shuffle: must be bool \(got 1 \(int\)\)"),
        ({"shuffle": "yes"}, r"must be bool"),
        ({"schedule": "cosin"}, r"p\.schedule: not one of the choices \(got 'cosin' \(str\)\)\. Did you mean 'cosine'"),
        ({"bits": 4}, r"p\.bits: not one of the choices \(got 4 \(int\)\)\. Known: 8, 16"),
        ({"bits": 16.0}, r"not one of the choices"),
        ({"name": 3}, r"p\.name: must be str \(got 3 \(int\)\)"),
        ({"limit": "many"}, r"p\.limit: must be int"),
        ({"lora": 4}, r"p\.lora: must be a mapping of parameters"),
        ({"betas": [0.9]}, r"p\.betas: must have 2 items \(got 1\)"),
        ({"betas": 0.9}, r"p\.betas: must be a list"),
        ({"sources": ["a", 1]}, r"p\.sources\[1\]: must be str"),
        ({"sources": "human"}, r"p\.sources: must be a list \(got 'human' \(str\)\)"),
        ({"share": 1.5}, r"p\.share: must be >= 0 and <= 1 \(got 1\.5\)"),
        ({"share": "half"}, r"p\.share: must be float"),
        ({"weights": {"a": "x"}}, r"p\.weights\.a: must be float"),
        ([], r"p: must be a mapping of parameters"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(mapping: Any, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(Params, mapping, "p")


def test_nothing_given_means_the_defaults() -> None:
    assert build(Params, None, "p") == build(Params, {}, "p") == Params()


def test_a_whole_number_is_a_float_where_a_float_is_asked() -> None:
    """1 and 1.0 are one value, so they are one identity."""
    one = build(Params, {"learning_rate": 1, "betas": [0, 1]}, "p")
    assert dump(one) == dump(build(Params, {"learning_rate": 1.0, "betas": [0.0, 1.0]}, "p"))
    assert isinstance(one.learning_rate, float)


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.e-5", ".1e-4", "+1e-5"])
def test_a_number_with_an_exponent_is_a_number(text: str) -> None:
    """YAML 1.1 reads 1e-5 as text: nobody who writes it means that."""
    assert build(Params, {"learning_rate": yaml.safe_load(text)}, "p").learning_rate == 1e-5


def test_none_is_allowed_only_where_it_is_declared() -> None:
    assert build(Params, {"limit": None}, "p").limit is None
    with pytest.raises(ParamsError, match="name: must be str"):
        build(Params, {"name": None}, "p")


def test_a_required_field_must_be_given() -> None:
    with pytest.raises(ParamsError, match=r"p\.path: is required"):
        build(Required, {}, "p")


def test_dump_reads_back_and_is_complete() -> None:
    built = build(Params, {"lora": {"rank": 4}, "sources": ["a"]}, "p")
    plain = dump(built)
    assert plain["sources"] == ["a"]
    assert build(Params, plain, "p") == built
    assert list(missing_keys(plain, plain, "p")) == []


def test_a_section_that_is_given_in_part_keeps_the_outer_default() -> None:
    """Not the class's own: naming one field of it must not change the others."""
    assert build(Params, {"lora": {"rank": 4}}, "p").lora == Inner(rank=4, alpha=32.0)
    assert build(Params, {"lora": None}, "p").lora == Params().lora


def test_what_says_how_a_step_is_carried_out_is_no_part_of_its_identity() -> None:
    often, seldom = (build(Params, {"every": every}, "p") for every in (1, 1000))
    assert dump(often) != dump(seldom)
    assert dump(often, execution=False) == dump(seldom, execution=False)
    assert "every" not in dump(often, execution=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1.0e-05"),
        (True, "true"),
        ("cosine", "cosine"),
        ("", "''"),
        ([0.9, 1], "[0.9, 1]"),
        ({"name": "dpo"}, "{name: dpo}"),
    ],
)
def test_as_yaml_is_what_params_yaml_takes(value: Any, text: str) -> None:
    assert as_yaml(value) == text
    assert yaml.safe_load(text) == value


def test_missing_keys_are_found_at_every_depth() -> None:
    plain = dump(Params())
    del plain["steps"], plain["lora"]["rank"]
    assert list(missing_keys(dump(Params()), plain, "p")) == ["p.steps", "p.lora.rank"]
    assert list(missing_keys({"path": "x"}, None, "p")) == ["p.path"]


def test_field_docs_are_the_strings_under_the_fields() -> None:
    docs = field_docs(Params)
    assert docs["learning_rate"] == "Peak learning rate, in plain words."
    assert "steps" not in docs


def test_merge_goes_mapping_by_mapping_and_leaves_the_original_alone() -> None:
    base = {"lora": {"rank": 1, "alpha": 2.0}, "steps": 3}
    assert merge(Params, base, {"lora": {"alpha": 3.0}}) == {"lora": {"rank": 1, "alpha": 3.0}, "steps": 3}
    assert base["lora"] == {"rank": 1, "alpha": 2.0}


def test_merge_keeps_the_rest_of_a_mapping_that_merely_has_a_name() -> None:
    """Only a choice (see test_table) loses what belonged to another name: naming a model must not reset its gate."""
    base = {"weights": {"name": "one", "promote": True}}
    assert merge(Params, base, {"weights": {"name": "two"}}) == {"weights": {"name": "two", "promote": True}}


def test_override_sets_a_nested_key_and_leaves_the_original_alone() -> None:
    mapping = {"lora": {"rank": 1, "alpha": 2.0}}
    assert override(Params, mapping, "lora.rank=[1, 2]") == {"lora": {"rank": [1, 2], "alpha": 2.0}}
    assert mapping == {"lora": {"rank": 1, "alpha": 2.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", r"--set abc: must be KEY=VALUE"),
        ("=1", r"must be KEY=VALUE"),
        ("a=[1", r"not valid YAML"),
    ],
)
def test_a_wrong_override_is_a_user_mistake(text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        override(Params, {"lora": {"rank": 1}}, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- a", "must be a mapping"),
        ("a: {x: 1, x: 2}", "key 'x' stands twice"),
        ("a: 1\nb: 2\na: 3", "key 'a' stands twice"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_a_user_mistake(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        read_params_file(tmp_path / "params.yaml")


def test_a_missing_or_binary_file_is_a_user_mistake(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no such file"):
        read_params_file(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_params_file(tmp_path / "params.yaml")
