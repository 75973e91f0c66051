"""The command line of components. Imports nothing heavy, so that `list` and `show` answer at once."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from components.contract.arguments import pairs, parser
from components.contract.lines import lines_on_stderr
from components.contract.memory import watch_memory
from components.contract.params import as_yaml, default_of, field_docs, hints, nested, override, read_params_file
from components.contract.record import Record
from components.contract.run import is_main, run_component
from components.contract.spec import Spec, all_specs, load_params_class, load_spec
from components.contract.termination import leave_message
from components.errors import ParamsError, PreflowError, WiringError
from components.remote import refs


def _outputs(items: list[str]) -> dict[str, Path] | list[str]:
    """Where to write, or the ports whose artifacts go to the remote."""
    given = pairs(items, "--out")
    remote = [port for port, path in given if path == refs.OUTPUT]
    for port, path in given:
        if path.startswith(refs.PREFIX) and path != refs.OUTPUT:
            raise WiringError(f"--out {port}: an id is known when it is made (got {path}). Write --out {port}=dvc:")
        if remote and port not in remote:
            raise WiringError(f"--out {port}: all outputs go to the remote, or none (got {path}). Write {port}=dvc:")
    return remote or {port: Path(path) for port, path in given}


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
    cls = load_params_class(load_spec(name))
    for text in overrides:
        section = override(cls, section, text)
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
    for port, text in pairs(args.inputs, "--in"):
        inputs.setdefault(port, []).append(refs.parse(text, f"--in {port}"))
    section = _section(args.name, args.params, args.set)
    paths = {port: [item for item in given if isinstance(item, Path)] for port, given in inputs.items()}
    if isinstance(outputs, dict) and paths == inputs:
        return run_component(args.name, section, paths, outputs)
    from components.remote.pod import run_with_remote

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
    docs, kinds, lines = field_docs(cls), hints(cls), []
    for f in dataclasses.fields(cls):
        default = default_of(f)
        inner = nested(kinds[f.name])
        said = "" if inner else f" = {'required' if default is dataclasses.MISSING else as_yaml(default)}"
        lines.append(f"{indent}{f.name}{said}  {docs.get(f.name, '')}".rstrip())
        if inner:
            lines += _describe_params(inner, indent + "  ")
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
        if args.command == "methods":
            from components.methods.show import show

            print(show(args.table, args.row, as_json=args.json))
            return 0
        if args.command == "new":
            from components.checks.new import scaffold

            print(scaffold(args.name, Path.cwd()))
            return 0
        from components.checks.check import check

        return check(Path.cwd(), write=args.write)
    except PreflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
