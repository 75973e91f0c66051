"""The command line of the contract. Imports nothing heavy, so that `list` and `show` answer at once."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
import typing
from pathlib import Path
from types import FrameType
from typing import Any

from components.contract import refs
from components.contract.lines import lines_on_stderr
from components.contract.memory import watch_memory
from components.contract.params import Choice, as_yaml, dump, field_docs, override, read_params_file
from components.contract.record import Record
from components.contract.run import is_main, run_component
from components.contract.spec import Spec, all_specs, load_params_class, load_spec
from components.contract.termination import leave_message
from components.errors import ParamsError, PreflowError, WiringError

EXAMPLES = """examples:
  python -m components list
  python -m components show reward_modeling
  python -m components run reward_modeling --params params.yaml \\
      --in dataset=artifacts/align/feedback_curation/dataset --in base=artifacts/align/base_model/policy \\
      --out model=artifacts/align/reward_modeling/model
  python -m components run reward_modeling --params dvc:0cc175b9c0f1b6a831c399e269772661:reward_modeling \\
      --in dataset=dvc:5ed2f4a2b3c1d0e9f8a7b6c5d4e3f201.dir --in base=dvc:9a8b7c6d5e4f30211203f4e5d6c7b8a9.dir \\
      --out model=dvc:
  python -m components check
  python -m components new my_component

`dvc:ID` is an artifact of the DVC remote ($PREFLOW_REMOTE, or DVC's default remote) by its content id. It is pulled
first; where several steps made the same bytes write dvc:ID@IDENTITY, and for a single file dvc:ID/NAME. With
`--out PORT=dvc:` for all outputs they are pushed, checkpoints are mirrored, and a step that is done is not run again.

exit codes: 0 done, 2 a user mistake (not retried), 3 bad data (not retried), anything else is a crash (retried)
"""


def parser() -> argparse.ArgumentParser:
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
    check = commands.add_parser("check", help="prove that specs, params.yaml, dvc.yaml, flows and READMEs agree")
    check.add_argument("--write", action="store_true", help="rewrite the generated READMEs and docs first")
    new = commands.add_parser("new", help="scaffold a component")
    new.add_argument("name")
    return top


def _pairs(items: list[str], flag: str) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        port, sign, path = item.partition("=")
        if not sign or not path:
            raise WiringError(f"{flag} {item}: must be PORT=PATH. For example {flag} dataset=artifacts/dataset.")
        pairs.append((port, path))
    return pairs


def _outputs(items: list[str]) -> dict[str, Path] | list[str]:
    """Where to write, or the ports whose artifacts go to the remote."""
    pairs = _pairs(items, "--out")
    remote = [port for port, path in pairs if path == refs.OUTPUT]
    for port, path in pairs:
        if path.startswith(refs.PREFIX) and path != refs.OUTPUT:
            raise WiringError(f"--out {port}: an id is known when it is made (got {path}). Write --out {port}=dvc:")
        if remote and port not in remote:
            raise WiringError(f"--out {port}: all outputs go to the remote, or none (got {path}). Write {port}=dvc:")
    return remote or {port: Path(path) for port, path in pairs}


def _section(name: str, argument: str | None, overrides: list[str]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    if argument:
        prefix = refs.PREFIX if argument.startswith(refs.PREFIX) else ""
        file, _, key = argument.removeprefix(prefix).partition(":")
        raw = read_params_file(_params_file(prefix + file))
        if (key or name) not in raw:
            raise ParamsError(
                f"{prefix}{file}: no section '{key or name}'. Add it, or pass --params {prefix}{file}:SECTION."
            )
        section = raw[key or name] or {}
        if not isinstance(section, dict):
            raise ParamsError(f"{file}: section '{key or name}' must be a mapping (got {section!r}). Write key: value.")
    for text in overrides:
        section = override(section, text)
    return section


def _params_file(text: str) -> Path:
    given = refs.parse(text, f"--params {text}")
    if isinstance(given, Path):
        return given
    from components.remote import Remote

    return refs.fetch(given, Remote.configured(), refs.node_store(), "--params")


def _end_with_parent() -> None:
    """Exit when the driver that started this process dies (PREFLOW_PARENT_PID), so that no step outlives its flow."""
    parent = int(os.environ.get("PREFLOW_PARENT_PID", "0"))
    launched = "LOCAL_RANK" in os.environ  # by torchrun, which is our parent then

    def there() -> bool:
        if not launched:
            return os.getppid() == parent
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            return False
        return True

    def watch() -> None:
        while there():
            time.sleep(0.5)
        os._exit(143)

    if parent:
        threading.Thread(target=watch, daemon=True).start()


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(143)  # unwinds, so that half-written outputs are removed


def _run(args: argparse.Namespace) -> int:
    _end_with_parent()
    signal.signal(signal.SIGTERM, _on_sigterm)
    watch_memory()
    with lines_on_stderr():
        try:
            record = _record_of(args)
        except Exception as error:
            leave_message(error)
            raise
    for port, oid in record.outputs.items() if is_main() else ():
        print(f"{record.component} {port} {oid}")
    return 0


def _record_of(args: argparse.Namespace) -> Record:
    outputs = _outputs(args.outputs)
    inputs: dict[str, list[refs.Ref | Path]] = {}
    for port, text in _pairs(args.inputs, "--in"):
        inputs.setdefault(port, []).append(refs.parse(text, f"--in {port}"))
    section = _section(args.name, args.params, args.set)
    paths = {port: [item for item in given if isinstance(item, Path)] for port, given in inputs.items()}
    if isinstance(outputs, dict) and paths == inputs:
        return run_component(args.name, section, paths, outputs)
    from components.contract.pod import run_with_remote

    return run_with_remote(args.name, section, inputs, outputs)


def describe(spec: Spec) -> str:
    """What `show` prints and the generated README holds."""
    lines = [f"{spec.ref}  {spec.summary}", ""]
    for title, ports in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        lines.append(f"{title}:")
        for port in ports.values():
            flags = "".join(f" ({flag})" for flag in ("many", "optional") if getattr(port, flag))
            lines.append(f"  {port.name}: {port.type}{flags}  {port.doc}".rstrip())
    lines.append("parameters:")
    lines += _describe_params(load_params_class(spec), "  ")
    lines.append("resources: " + ", ".join(f"{key} {value}" for key, value in spec.resources.items()))
    return "\n".join(lines)


def _describe_params(cls: type, indent: str) -> list[str]:
    docs, hints, lines = field_docs(cls), typing.get_type_hints(cls), []
    for f in dataclasses.fields(cls):
        default = "required"
        if f.default is not dataclasses.MISSING:
            default = as_yaml(dump(f.default))
        elif f.default_factory is not dataclasses.MISSING:
            default = as_yaml(dump(f.default_factory()))
        kind = hints[f.name]
        nested = dataclasses.is_dataclass(kind) and kind is not Choice
        lines.append(f"{indent}{f.name}{'' if nested else f' = {default}'}  {docs.get(f.name, '')}".rstrip())
        if nested:
            lines += _describe_params(kind, indent + "  ")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            width = max((len(spec.ref) for spec in all_specs().values()), default=0)
            for spec in all_specs().values():
                print(f"{spec.ref:<{width}}  {spec.summary}")
            return 0
        if args.command == "show":
            print(describe(load_spec(args.name)))
            return 0
        if args.command == "run":
            return _run(args)
        if args.command == "new":
            from components.contract.new import scaffold

            print(scaffold(args.name, Path.cwd()))
            return 0
        from components.contract.check import check

        return check(Path.cwd(), write=args.write)
    except PreflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
