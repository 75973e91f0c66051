"""The data card: one self-contained, escaped HTML page. The same data set gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from components.feedback_curation.gate import NOTES, Gated
from components.records import FLAGS, RULES, Record
from components.records.importers import IMPORT_RULES
from components.sequences.rules import REMEDIES
from components.votes.table import AGGREGATIONS, AGREEMENTS

SAMPLE = 10
BINS = 32
ANNOTATORS = 30
_HERE = Path(__file__).parent


def write_card(
    path: Path, title: str, summary: Mapping[str, Any], gated: Gated, quarantine: list[dict[str, Any]]
) -> None:
    """Write card.html. `quarantine`: the rows of this step and of the steps before it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"n": number, "percent": percent, "estimate": estimate_text}
    lengths = [length for split in gated.lengths.values() for length in split]
    page = environment.get_template("card.html.j2").render(
        title=title,
        s=summary,
        kinds=summary["annotators"]["by_kind"],
        agreements=[(row.name, row.facts["label"]) for row in AGREEMENTS],
        rule=AGGREGATIONS[summary["aggregation"]["method"]["name"]],
        histogram=histogram(lengths, summary["tokens"]["max_length"]),
        quarantine=quarantine_table(quarantine),
        flags={name: (count, _sentence(FLAGS[name])) for name, count in summary["flags"].items()},
        notes={name: (count, NOTES[name]) for name, count in summary["kept_notes"].items()},
        people=people(summary["annotators"]["by_kind"]),
        sample=[shown(record) for record in sample(gated.records)],
    )
    path.write_text(page, encoding="utf-8")


def number(value: float) -> str:
    return f"{value:,}"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def estimate_text(value: Mapping[str, Any] | None) -> str:
    """`0.612 (0.590 to 0.634, n 2,345)`, or a dash where there is nothing to estimate."""
    if value is None or value["value"] is None:
        return "–"
    if value["ci_low"] is None:
        return f"{value['value']:.3f} (interval unknown, n {value['n']:,})"
    return f"{value['value']:.3f} ({value['ci_low']:.3f} to {value['ci_high']:.3f}, n {value['n']:,})"


def _sentence(rule: Any) -> str:
    return " ".join((rule.__doc__ or "").split())


def quarantine_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per rule, most frequent first: count, what the rule asks, the first example."""
    counts: Counter[str] = Counter()
    example: dict[str, str] = {}
    for row in rows:
        counts[row["rule"]] += 1
        example.setdefault(row["rule"], row["reason"])
    asks = {name: _sentence(rule) for name, rule in RULES.items()} | IMPORT_RULES | REMEDIES
    ordered = sorted(counts, key=lambda rule: (-counts[rule], rule))
    return [{"rule": r, "count": counts[r], "asks": asks.get(r, ""), "example": example[r][:300]} for r in ordered]


def people(kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The annotators with most votes, over all kinds."""
    found = ((kind, who, row) for kind, study in kinds.items() for who, row in study["annotators"].items())
    rows = [{"id": who, "kind": kind, **row} for kind, who, row in found]
    return sorted(rows, key=lambda row: (-row["votes"], row["kind"], row["id"]))[:ANNOTATORS]


def histogram(lengths: list[int], limit: int) -> dict[str, Any] | None:
    """Bars of an SVG of 720 x 200 units: row lengths in tokens up to twice the limit, and where the limit is."""
    if not lengths:
        return None
    width = -(-(min(max(lengths), 2 * limit) + 1) // BINS)
    bins = min(max(lengths), 2 * limit) // width + 1
    counts = Counter(length // width for length in lengths)
    beyond = sum(count for i, count in counts.items() if i >= bins)
    top, step = max(counts.values()), 720 / bins
    bars = [
        {"x": f"{i * step:.1f}", "y": f"{200 - 200 * counts[i] / top:.1f}", "h": f"{200 * counts[i] / top:.1f}",
         "title": f"{i * width} to {i * width + width - 1} tokens: {counts[i]:,} rows"}
        for i in range(bins) if counts[i]
    ]  # fmt: skip
    ticks = [{"x": f"{720 * k / 4:.1f}", "text": f"{round(bins * width * k / 4):,}"} for k in range(5)]
    inside = f"{720 * limit / (bins * width):.1f}" if limit <= bins * width else None
    shape = {"bars": bars, "w": f"{max(step - 1, 0.5):.1f}", "ticks": ticks}
    return {**shape, "limit": inside, "top": top, "beyond": beyond}


def sample(splits: Mapping[str, list[Record]]) -> list[Record]:
    """Records drawn by the hash of their ids: nobody picks them, and the same data gives the same ones."""
    records = [record for split in splits.values() for record in split]
    place = {id(r): hashlib.sha256(f"card:{r['record_id']}".encode()).hexdigest() for r in records}
    return sorted(records, key=lambda record: place[id(record)])[:SAMPLE]


def shown(record: Record) -> dict[str, Any]:
    """What the card shows of a record."""
    pair = next((j for j in record["judgments"] if j["type"] == "pairwise"), None)
    votes = next((j.get("n") for j in record["judgments"] if j["type"] == "distribution"), None)
    others = [j for j in record["judgments"] if pair is None]
    return {
        "id": record["record_id"][:12],
        "split": record["provenance"]["split"],
        "source": record["provenance"]["source"],
        "kind": record["annotator"]["kind"],
        "votes": votes,
        "prompt": [(m["role"], _plain(m["parts"])) for m in record["task"]["messages"]],
        "system": record["task"].get("system"),
        "candidates": [
            (_verdict(pair, c["cid"]), _plain(c["parts"]), c["generator"]["name"]) for c in record["candidates"]
        ],
        "p": None if pair is None or "p_a" not in pair else f"{max(pair['p_a'], 1 - pair['p_a']):.2f}",
        "others": [json.dumps(j, ensure_ascii=False, sort_keys=True) for j in others],
    }


def _plain(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text", f"[{part['type']}]") for part in parts)


def _verdict(pair: dict[str, Any] | None, cid: str) -> str:
    if pair is None:
        return ""
    if pair["outcome"] in ("a", "b"):
        return "preferred" if pair[pair["outcome"]] == cid else "rejected"
    return str(pair["outcome"]).replace("_", " ")
