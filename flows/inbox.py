"""New feedback comes in: a file is looked at, copied into the inbox, and an event tells the deployments that wait."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import content_id, replace
from components.contract.params import build, merge, read_params_file
from components.contract.spec import load_params_class, load_spec
from components.errors import DataError, ParamsError, PreflowError, first_line
from components.records import prompt_key
from components.records.importers import Options
from components.records.importers.folder import plain_name
from components.records.importers.whole import Whole, read_whole, top_reasons
from flows.profile import load_profile

EVENT = "preflow.feedback.added"
_READER = "human_feedback"
_PATIENCE = 30.0  # seconds for a server to take an event


@dataclass(frozen=True)
class Added:
    """Where the file lies now, whether it lay there before, and what is in it."""

    path: Path
    was_there: bool
    found: list[str]


def reading(profile: str) -> Any:
    """The parameters with which retraining under a profile reads the inbox: of this folder's params.yaml, if there is
    one. Raises ParamsError."""
    file, cls = Path("params.yaml"), load_params_class(load_spec(_READER))
    base = read_params_file(file).get(_READER) if file.is_file() else None
    over = load_profile(profile).params.get(_READER)
    for values in (base, over):
        if not isinstance(values, (dict, type(None))):
            raise ParamsError(f"{_READER}: must be a mapping of parameters (got {values!r}). Write key: value lines.")
    return build(cls, merge(cls, base or {}, over or {}), f"params.{_READER}")


def add_feedback(file: Path, inbox: Path, params: Any) -> Added:
    """Look at a file as the step human_feedback would with `params`, and copy it into the inbox if that can read it.

    Its name there is decided by its content: adding it twice changes nothing. Raises DataError (with the reason) for a
    file that cannot be read or has too many lines that are no feedback, ArtifactError if there is none.
    """
    found = describe(_examine(file, params))
    target = inbox / f"{content_id(file)[:12]}-{plain_name(file.name)}"
    was_there = target.exists()
    if not was_there:
        inbox.mkdir(parents=True, exist_ok=True)
        temporary = inbox / f".{target.name}.tmp-{uuid.uuid4().hex[:8]}"
        shutil.copyfile(file, temporary)
        replace(temporary, target)
    return Added(target, was_there, found)


def _examine(file: Path, params: Any) -> Whole:
    facts = Options(
        annotator_kind=params.annotator.kind,
        annotator_revision=params.annotator.revision,
        instructions_rev=params.instructions_rev,
        ignore_columns=params.ignore_columns,
    )
    whole = read_whole(file, file.name, params.format, facts, params.limits)
    allowed = params.max_quarantine_share
    if whole.share > allowed or not whole.records:
        raise DataError(
            f"{file}: {len(whole.quarantine)} of {whole.n_lines} lines are no feedback that can be read (got "
            f"{whole.share:.4f}, allowed {allowed}). Top reasons: {top_reasons(whole.quarantine)} Fix the file; it was "
            "not added."
        )
    return whole


def describe(whole: Whole) -> list[str]:
    """What is in a file, a line each: format and counts, quarantined lines by rule, and what should be looked at."""
    kinds = Counter(judgment["type"] for record in whole.records for judgment in record["judgments"])
    votes = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    prompts = len({prompt_key(record) for record in whole.records})
    people = len({record["annotator"]["id"] for record in whole.records})
    lines = [
        f"format {whole.about.format}, {whole.n_lines} rows: {len(whole.records)} records ({votes}), "
        f"{prompts} prompts, {people} annotators"
    ]
    if whole.quarantine:
        lines.append(f"{len(whole.quarantine)} quarantined: {top_reasons(whole.quarantine)}")
    return lines + whole.findings()


def announce(inbox: Path) -> None:
    """Emit the event on the configured Prefect server. Raises PreflowError unless the server says that it has it."""
    try:
        asyncio.run(asyncio.wait_for(_emit(inbox), _PATIENCE))
    except Exception as error:  # whatever the client raises: the server does not have it
        raise PreflowError(
            f"add-feedback: the file is in {inbox}, but the Prefect server was not told (got {first_line(error)}). See "
            "whether it runs, then give the same command again: adding a file twice changes nothing."
        ) from error


async def _emit(inbox: Path) -> None:
    from prefect.events import Event, Resource
    from prefect.events.clients import get_events_client
    from prefect.types import _datetime

    resource = Resource.model_validate({"prefect.resource.id": f"preflow.inbox.{inbox}"})
    event = Event(event=EVENT, resource=resource, occurred=_datetime.DateTime.now("UTC"))
    # after each event it asks whether the server has it
    async with get_events_client(reconnection_attempts=2, checkpoint_every=1) as client:
        await client.emit(event)
