"""Every example runs, and says what its README says."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*argv: str) -> str:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=env, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for file in EXAMPLES.iterdir():
        assert file.name in listed or file.name in ("README.md", "pairs.jsonl"), file.name


def test_single_step_counts_the_two_bad_lines(tmp_path: Path) -> None:
    out = run("bash", str(EXAMPLES / "single_step.sh"), str(tmp_path))
    assert "records:    6" in out
    assert "line 7:" in out
    assert "line 8:" in out


def test_objectives_prints_every_pair_loss() -> None:
    out = run(sys.executable, str(EXAMPLES / "objectives.py"))
    assert {line.split()[0] for line in out.splitlines()} >= {"dpo", "ipo", "orpo"}
    assert "0.621" in out, "DPO of the first comparison, as worked out in the objectives' tests"
