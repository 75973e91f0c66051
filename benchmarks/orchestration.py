"""What orchestration costs: seconds per step over the bare component, a `dvc repro` with nothing to do, a cached flow.

    python benchmarks/orchestration.py [--repeats 3]

Runs the `tiny` profile in a temporary project, once as bare `python -m components run` commands, one per stage, and
once as a flow with the embedded server, in turn (A B A B ...), so that a drift of the machine falls on both.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.flows.project import environment, make_project


def timed(project: Path, *argv: str) -> float:
    """Wall seconds of one command; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *argv], cwd=project, env=environment(project), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - began


def bare(project: Path) -> list[float]:
    """Every stage's own command, one after the other, without DVC or Prefect."""
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    return [timed(project, *stage["cmd"].split()[1:]) for stage in stages.values()]


def table(rows: list[tuple[str, list[float], str]]) -> str:
    lines = ["| what | median | min | max | aim |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {statistics.median(values):.2f} s | {min(values):.2f} | {max(values):.2f} | {aim} |"
        for name, values, aim in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    folder = Path(tempfile.mkdtemp(prefix="preflow-orchestration-"))
    bares, flows, steps = [], [], 0
    try:
        for repeat in range(repeats):
            alone = bare(make_project(folder / f"bare-{repeat}"))
            bares.append(sum(alone))
            steps = len(alone)
            project = make_project(folder / f"flow-{repeat}")
            flows.append(timed(project, "-m", "flows.cli", "run", "align"))
        cached = [timed(project, "-m", "flows.cli", "run", "align") for _ in range(repeats)]
        idle = [timed(project, "-m", "dvc", "repro") for _ in range(repeats)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    overhead = [(flow - alone) / steps for flow, alone in zip(flows, bares, strict=True)]
    print(f"{steps} steps, {repeats} repeats, each pair in turn\n")
    print(
        table(
            [
                ("bare components, all steps", bares, ""),
                ("flow with its embedded server, all steps", flows, ""),
                ("overhead per step (server start and end included)", overhead, "<= 1 s"),
                ("`dvc repro`, nothing to do", idle, "<= 3 s"),
                ("flow, everything cached (server start and end included)", cached, "<= 10 s"),
            ]
        )
    )


if __name__ == "__main__":
    main()
