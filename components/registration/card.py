"""The model card: facts of the records, the report and the gate, and nothing else. Deterministic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from components.registration.params import Params
from components.registration.story import Story, flat


def model_card(params: Params, story: Story, metrics: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """A Hugging Face style card (YAML front matter, then Markdown)."""
    parts = [
        _front_matter(params, story),
        f"# {params.name}\n",
        _summary(story, decision),
        "## Intended use\n",
        _intended_use(story),
        "## Limitations\n",
        _bullets(_limitations(story, metrics, decision)),
        "## Training\n",
        _training(story),
        "## Data and lineage\n",
        _lineage(story),
        "## Evaluation\n",
        _evaluation(metrics),
        "## Gate\n",
        _gate(decision),
        "## How to use\n",
        _usage(params),
    ]
    return "\n".join(parts)


def _front_matter(params: Params, story: Story) -> str:
    objective = story.objective.get("name", "")
    facts = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "model_name": params.name,
        "tags": ["preflow", "alignment", *([objective] if objective else [])],
        "datasets": [story.dataset] if story.dataset else [],
    }
    base = story.nearest("base_model")
    source = base.params.get("source") if base else None
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", source):  # a hub id, not a path
        facts["base_model"] = source
    return f"---\n{yaml.safe_dump(facts, sort_keys=True, allow_unicode=True)}---\n"


def _summary(story: Story, decision: Mapping[str, Any]) -> str:
    made_by = story.ancestors[0].component
    objective = story.objective.get("name")
    how = f" with the objective `{objective}`" if objective else ""
    return (
        f"Policy `{story.policy}`, made by `{made_by}`{how}. Verdict of its gate: **{decision['verdict']}** "
        f"({sum(row['ok'] for row in decision['checks'])} of {len(decision['checks'])} checks hold).\n"
    )


def _intended_use(story: Story) -> str:
    learned = f"the preferences in data set `{story.dataset}`" if story.dataset else "no recorded preference data"
    return (
        f"Answering prompts like those of its training data, in the way that {learned} favour. It was measured on the "
        "held-out prompts of the evaluation below and on nothing else. Licences and terms of the base model and of "
        "the feedback apply; preflow does not record one for the result.\n"
    )


def _limitations(story: Story, metrics: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[str]:
    for row in decision["checks"]:
        if not row["ok"]:
            yield f"Fails its gate at `{row['name']}`: {row['reason']}."
    for name in decision["skipped"]:
        yield f"`{name}` was not asked: the report compares with no champion."
    if not any(name.startswith("win_rate.judge.") for name in metrics):
        yield "No judge compared its answers."
    if not story.champion:
        yield "It was not compared with a version in use."
    if "contamination.exact" not in metrics:
        yield "Overlap of test and training prompts was not measured."
    bare = sorted(name for name, entry in metrics.items() if _interval(entry) == "")
    if bare:
        yield f"Metrics without an interval: {', '.join(f'`{name}`' for name in bare)}."
    if story.ancestors[0].component.startswith("external"):
        yield "The policy has no record: how it was made is not known."
    yield "Safety, other languages and other domains: whatever is not listed under Evaluation was not measured."


def _training(story: Story) -> str:
    made = story.ancestors[0]
    if not made.params:
        return "Not recorded.\n"
    return f"`{made.component}` with:\n\n" + _table(("parameter", "value"), flat(made.params).items())


def _lineage(story: Story) -> str:
    rows = []
    for item in story.ancestors:
        parents = [oid for ids in item.inputs.values() for oid in ([ids] if isinstance(ids, str) else ids)]
        rows.append(
            (f"`{item.component}` {item.port}".strip(), f"`{item.id}`", ", ".join(f"`{oid}`" for oid in parents))
        )
    others = [*(("report", oid) for oid in story.reports), ("reference", story.reference)]
    others.append(("champion compared with", story.champion))
    named = "".join(f"- {name}: `{oid}`\n" for name, oid in others if oid)
    return _table(("made by", "content id", "from"), rows) + "\n" + named


def _evaluation(metrics: Mapping[str, Any]) -> str:
    rows = []
    for name in sorted(metrics):
        entry = metrics[name]
        if isinstance(entry, Mapping):
            rows.append((f"`{name}`", _number(entry.get("value")), _interval(entry), str(entry.get("n", ""))))
        else:
            rows.append((f"`{name}`", _number(entry), "", ""))
    return _table(("metric", "value", "95 % interval", "n"), rows)


def _gate(decision: Mapping[str, Any]) -> str:
    rows = [
        (
            "pass" if row["ok"] else "**fail**",
            f"`{row['name']}`",
            _number(row["got"]),
            _number(row["need"]),
            _number(row["minimum_detectable_effect"]),
            row["reason"],
        )
        for row in decision["checks"]
    ]
    note = "\n`detects`: the smallest effect that the metric's interval shows with power 0.8 at level 0.05.\n"
    return _table(("", "check", "got", "need", "detects", "why"), rows) + note


def _usage(params: Params) -> str:
    return (
        "```python\n"
        "from pathlib import Path\n"
        "from components.registry import Registry\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'folder = Registry().download("{params.name}", "@champion", Path("policy"))  # or a version number\n'
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "```\n"
    )


def _interval(entry: Any) -> str:
    if not isinstance(entry, Mapping) or entry.get("ci_low") is None or entry.get("ci_high") is None:
        return ""
    return f"{_number(entry['ci_low'])} to {_number(entry['ci_high'])}"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _bullets(lines: Iterator[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)
