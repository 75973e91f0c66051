"""component.yaml is strict, and an artifact is what its type says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.contract import all_specs, check_artifact, load_spec
from components.contract.spec import ARTIFACT_TYPES, load_params_class, parse_spec
from components.errors import ArtifactError, SpecError

GOOD = {
    "name": "toy",
    "version": "1",
    "summary": "Do a thing.",
    "deterministic": True,
    "inputs": {"dataset": {"type": "dataset", "many": True}},
    "outputs": {"model": {"type": "preference_model", "doc": "weights"}},
    "resources": {"cpu": 1},
}


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "toy" / "component.yaml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_a_good_spec_parses(tmp_path: Path) -> None:
    spec = parse_spec(_write(tmp_path, yaml.safe_dump(GOOD)))
    assert (spec.ref, spec.inputs["dataset"].many, spec.outputs["model"].type) == ("toy@1", True, "preference_model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "name must be the folder's name (got 'other')"),
        ({"version": 1}, "version must be a quoted string (got 1)"),
        ({"versions": "1"}, "unknown key 'versions'. Did you mean 'version'?"),
        ({"summary": None, "inputs": {"a": "dataset"}}, "a port is {type: ..., doc: ...}"),
        ({"inputs": {"a": {"type": "datset"}}}, "unknown type 'datset'. Did you mean 'dataset'?"),
        ({"outputs": {"a": {"type": "report", "optional": True}}}, "unknown key 'optional'"),
        ({"resources": {"gpus": 1}}, "unknown key 'gpus'. Did you mean 'gpu'?"),
        ({"effects": ["registri"]}, "unknown effect 'registri'. Did you mean 'registry'?"),
    ],
)
def test_a_mistake_in_a_spec_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(_write(tmp_path, yaml.safe_dump({**GOOD, **change})))
    assert message in str(error.value)
    assert str(error.value).startswith("toy/component.yaml")


@pytest.mark.parametrize("key", ["name", "version", "summary", "deterministic", "outputs", "resources"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(SpecError, match=f"key '{key}' is missing"):
        parse_spec(_write(tmp_path, yaml.safe_dump({k: v for k, v in GOOD.items() if k != key})))


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("- 1", "must be a mapping")])
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(_write(tmp_path, text))


def test_an_unknown_component_gets_the_nearest_name(toy: Path) -> None:
    with pytest.raises(SpecError, match=r"component 'toyy': no such component\. Did you mean 'toy'\?"):
        load_spec("toyy")


def test_params_that_cannot_be_imported_are_a_spec_error(toy: Path) -> None:
    (toy / "params.py").write_text("import no_such_module\n")
    with pytest.raises(SpecError, match=r"components/toy/params\.py: no Params can be imported"):
        load_params_class(load_spec("toy"))


def test_every_component_of_the_project_parses() -> None:
    assert all(spec.summary.endswith(".") for spec in all_specs().values())


@pytest.mark.parametrize("kind", sorted(ARTIFACT_TYPES))
def test_an_artifact_holds_what_its_type_says(kind: str, tmp_path: Path) -> None:
    for name in ARTIFACT_TYPES[kind]:
        (tmp_path / name.replace("*", "model")).write_text("")
    check_artifact(kind, tmp_path, "here")
    for name in ARTIFACT_TYPES[kind]:
        path = tmp_path / name.replace("*", "model")
        path.unlink()
        with pytest.raises(ArtifactError, match=f"is not a {kind}: no {name.replace('*', '.')}"):
            check_artifact(kind, tmp_path, "here")
        path.write_text("")


def test_a_missing_artifact_or_a_file_for_a_folder_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        check_artifact("dataset", tmp_path / "absent", "here")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="a dataset is a folder"):
        check_artifact("dataset", tmp_path / "file", "here")
    check_artifact("raw_feedback", tmp_path / "file", "here")
