"""`python -m components new NAME`: the four files of a component that already runs, and what is left to write."""

from __future__ import annotations

import re
from pathlib import Path

from components.errors import SpecError

_SPEC = """\
name: {name}
version: "1"                 # bump when the meaning of an output changes
summary: Keep the first records of a feedback set.
deterministic: true
inputs:
  feedback: {{type: feedback, doc: the records to read}}
outputs:
  feedback: {{type: feedback, doc: the records that were kept}}
resources: {{gpu: 0, cpu: 1, memory: 1Gi, minutes: 5}}
"""

_PARAMS = '''\
"""Parameters of `{name}`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import ParamsError


@dataclass(frozen=True)
class Params:
    limit: int = 1000
    """Keep at most this many records."""

    def check(self) -> None:
        if self.limit < 1:
            raise ParamsError(f"limit: must be at least 1 (got {{self.limit}}). Raise it.")
'''

_RUN = '''\
"""Keep the first records of a feedback set."""

from __future__ import annotations

import json
import shutil

from components.contract import Inputs, Metrics, Outputs
from components.{name}.params import Params


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Copy at most `params.limit` records; returns how many were read and kept."""
    source, target = inputs["feedback"].path, outputs["feedback"]
    records = (source / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = records[: params.limit]
    (target / "records.jsonl").write_text("".join(kept), encoding="utf-8")
    shutil.copyfile(source / "quarantine.jsonl", target / "quarantine.jsonl")
    metrics = {{"n_read": len(records), "n_records": len(kept)}}
    (target / "summary.json").write_text(json.dumps(metrics, indent=1) + "\\n", encoding="utf-8")
    return metrics
'''

_TEST = '''\
"""{name}: keeps the first records, counts them, and makes the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.contract import run_component
from components.errors import ParamsError

NAME = "{name}"


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    """A feedback artifact of three records."""
    folder = tmp_path / "feedback"
    folder.mkdir()
    records = [json.dumps({{"record_id": str(i)}}) + "\\n" for i in range(3)]
    (folder / "records.jsonl").write_text("".join(records))
    (folder / "quarantine.jsonl").write_text("")
    (folder / "summary.json").write_text('{{"n_records": 3}}')
    return folder


def test_keeps_at_most_limit_records(feedback: Path, tmp_path: Path) -> None:
    record = run_component(NAME, {{"limit": 2}}, {{"feedback": [feedback]}}, {{"feedback": tmp_path / "out"}})
    assert record.metrics == {{"n_read": 3, "n_records": 2}}
    assert (tmp_path / "out" / "records.jsonl").read_text().count("\\n") == 2


def test_same_inputs_and_parameters_give_the_same_content(feedback: Path, tmp_path: Path) -> None:
    runs = [run_component(NAME, {{}}, {{"feedback": [feedback]}}, {{"feedback": tmp_path / out}}) for out in "ab"]
    assert runs[0].to_json() == runs[1].to_json()


def test_a_limit_below_one_is_a_user_mistake(feedback: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="limit: must be at least 1"):
        run_component(NAME, {{"limit": 0}}, {{"feedback": [feedback]}}, {{"feedback": tmp_path / "out"}})
'''

_NEXT = """\
{name}: wrote
{files}

Two edits are left:
1. params.yaml, the section that DVC watches:
{name}:
  limit: 1000

2. A place in a flow. It makes feedback, so naming it is enough: it is wired by the types of its ports.
   In a profile (flows/profiles): feedback: [human_feedback, {name}]
   Anything else is one line of a flow, such as flows/parts.py: at.step("{name}", feedback=human)

Proof: python -m pytest tests/components/{name} && python -m components check --write   (writes dvc.yaml, too)
"""


def scaffold(name: str, root: Path) -> str:
    """Write a working component under `root`; returns what a person does next. Raises SpecError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise SpecError(f"new {name}: must be lower case words joined by _ . For example reward_modeling.")
    if not (root / "components" / "contract").is_dir():
        raise SpecError(f"new {name}: {root} is not the project folder. Run at its top.")
    folder, tests = root / "components" / name, root / "tests" / "components" / name
    for taken in (folder, folder.with_suffix(".py"), tests):
        if taken.exists():
            raise SpecError(f"new {name}: {taken.relative_to(root)} is there already. Choose another name.")
    files = {
        folder / "__init__.py": "",
        folder / "component.yaml": _SPEC,
        folder / "params.py": _PARAMS,
        folder / "run.py": _RUN,
        tests / "__init__.py": "",
        tests / f"test_{name}.py": _TEST,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name), encoding="utf-8")
    written = "\n".join(f"  {path.relative_to(root)}" for path, text in files.items() if text)
    return _NEXT.format(name=name, files=written)
