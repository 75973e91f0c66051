"""The arguments of `python -m components`, which `dvc.yaml` and Kubernetes Jobs write too."""

from __future__ import annotations

import argparse

from components.errors import WiringError

EXAMPLES = """examples:
  python -m components list
  python -m components show reward_modeling
  python -m components run reward_modeling --params params.yaml \\
      --in dataset=artifacts/align/feedback_curation/dataset --in base=artifacts/align/base_model/policy \\
      --out model=artifacts/align/reward_modeling/model
  python -m components run reward_modeling --params dvc:0cc175b9c0f1b6a831c399e269772661:reward_modeling \\
      --in dataset=dvc:5ed2f4a2b3c1d0e9f8a7b6c5d4e3f201.dir --in base=dvc:9a8b7c6d5e4f30211203f4e5d6c7b8a9.dir \\
      --out model=dvc:
  python -m components methods objectives dpo
  python -m components check
  python -m components new my_component

`dvc:ID` is an artifact of the DVC remote ($PREFLOW_REMOTE, or DVC's default remote) by its content id. It is pulled
first; where several steps made the same bytes write dvc:ID@IDENTITY, and for a single file dvc:ID/NAME. With
`--out PORT=dvc:` for all outputs they are pushed, checkpoints are mirrored, and a step that is done is not run again.

exit codes: 0 done, 2 a user mistake (not retried), 3 bad data (not retried), anything else is a crash (retried)
"""


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = argparse.ArgumentParser(
        prog="python -m components",
        description="List, show, run, check and scaffold components.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every component: name@version and summary")
    show = commands.add_parser("show", help="ports, parameters with docs, resources of one component")
    show.add_argument("name")
    run = commands.add_parser("run", help="run one component on folders")
    run.add_argument("name")
    run.add_argument(
        "--params", metavar="FILE[:KEY]", help="YAML file, or dvc:MD5 of one; KEY: its section (default: the name)"
    )
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one parameter")
    run.add_argument(
        "--in", action="append", default=[], metavar="PORT=PATH", dest="inputs", help="an input artifact, or dvc:ID"
    )
    run.add_argument(
        "--out", action="append", default=[], metavar="PORT=PATH", dest="outputs", help="where to write, or dvc:"
    )
    methods = commands.add_parser("methods", help="what a parameter can choose by name: tables, their rows, one row")
    methods.add_argument("table", nargs="?", help="for example objectives")
    methods.add_argument("row", nargs="?", help="for example dpo")
    methods.add_argument("--json", action="store_true", help="as JSON, for programs")
    check = commands.add_parser("check", help="prove that specs, params.yaml, dvc.yaml, flows and READMEs agree")
    check.add_argument("--write", action="store_true", help="rewrite the generated READMEs, docs and dvc.yaml first")
    new = commands.add_parser("new", help="scaffold a component")
    new.add_argument("name")
    return top


def pairs(items: list[str], flag: str) -> list[tuple[str, str]]:
    """`PORT=PATH` arguments in order. Raises WiringError."""
    found = []
    for item in items:
        port, sign, path = item.partition("=")
        if not sign or not path:
            raise WiringError(f"{flag} {item}: must be PORT=PATH. For example {flag} dataset=artifacts/dataset.")
        found.append((port, path))
    return found
