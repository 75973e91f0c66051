"""Does the quickstart's policy truly beat its base, seed after seed, and are flipped labels refused?

    python benchmarks/quickstart_seeds.py [--seeds 5]

Each seed is a whole `preflow run align` in a temporary project in which every seed of every step is that number; then
one more with every vote of the simulated annotators inverted. Prints the table of docs/results.md; exits with 1 if
fewer than four in five seeds beat the base by the known truth, or if the flipped candidate passes the gate.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.flows.project import make_project, preflow

STEPS = (
    "simulated_feedback",
    "base_model",
    "response_sampling",
    "reward_modeling",
    "policy_optimization",
    "answers",
    "evaluation",
)
COLUMNS = {
    "RM accuracy": "reward_model.accuracy",
    "longer wins": "baseline.length.accuracy",
    "bag of words": "baseline.bag_of_words.accuracy",
    "win rate, judge": "win_rate.judge.vs_reference",
    "win rate, known truth": "win_rate.gold.vs_reference",
}


def run(folder: Path, label: str, overrides: list[str]) -> dict[str, object]:
    """One pass in a project of its own; returns its metrics, verdict and seconds."""
    project = make_project(folder / label.replace(" ", "-"), tiny=False)
    began = time.perf_counter()
    preflow(project, "run", "align", *[part for text in overrides for part in ("--set", text)])
    seconds = time.perf_counter() - began
    metrics = json.loads((project / "artifacts/align/evaluation/report/metrics.json").read_text())
    gate = json.loads((project / "artifacts/align/registration/decision/gate.json").read_text())
    failed = [check["name"] for check in gate["checks"] if not check["ok"]]
    row = {"label": label, "metrics": metrics, "verdict": gate["verdict"], "failed": failed, "seconds": seconds}
    print(line(row), flush=True)
    return row


def cell(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"


def line(row: dict[str, object]) -> str:
    metrics: dict[str, dict[str, float]] = row["metrics"]  # type: ignore[assignment]
    cells = [cell(metrics[name]) for name in COLUMNS.values()]
    verdict = str(row["verdict"]) + (f": {', '.join(row['failed'])}" if row["failed"] else "")  # type: ignore[arg-type]
    return f"| {row['label']} | {' | '.join(cells)} | {verdict} | {row['seconds']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    folder = Path(tempfile.mkdtemp(prefix="preflow-seeds-"))
    print(f"| run | {' | '.join(COLUMNS)} | gate | seconds |\n|{'---|' * (len(COLUMNS) + 3)}", flush=True)
    try:
        rows = [run(folder, f"seed {seed}", [f"{step}.seed={seed}" for step in STEPS]) for seed in range(seeds)]
        flipped = run(folder, "flipped labels", ["simulated_feedback.flip=1.0"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    beat = sum(row["metrics"]["win_rate.gold.vs_reference"]["ci_low"] > 0.5 for row in rows)  # type: ignore[index]
    print(f"\n{beat} of {seeds} seeds beat the base by the known truth; flipped labels: {flipped['verdict']}")
    sys.exit(0 if beat >= 0.8 * seeds and flipped["verdict"] == "refused" else 1)


if __name__ == "__main__":
    main()
