"""The feedback vocabulary: one record format (FMT-00) for every kind of feedback, its rules, files and conversions.

A record is a plain dict (see `schema`), so that it goes through JSON, Parquet and a debugger unchanged. Torch-free.

>>> record = make_record(
...     task=simple_task("Name a colour."),
...     candidates=[text_candidate("a", "Blue."), text_candidate("b", "Seven.")],
...     judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["b", "a"]}],
...     annotator={"id": "ann-1", "kind": "human"},
...     provenance={"source": "example", "license": "CC0-1.0"},
... )
>>> validate(record)
>>> [(c.chosen, c.rejected, c.probability) for c in comparisons([record]).items]
[('Blue.', 'Seven.', 1.0)]
"""

from components.records.build import UNKNOWN, complete, make_record, simple_task, text_candidate
from components.records.canonical import canonical_json, record_id
from components.records.conversions import (
    Converted,
    Labelled,
    Pair,
    Scored,
    VoteShare,
    binary_to_pairs,
    ranking_to_pairs,
    scores_to_pairs,
    votes_to_probability,
)
from components.records.files import (
    read_lines,
    read_parquet,
    read_records,
    write_lines,
    write_parquet,
    write_records,
)
from components.records.flags import FLAGS, flags
from components.records.groups import Groups, normal_key, shared_prompts
from components.records.prompts import (
    candidate_text,
    messages,
    prompt_key,
    split_of,
)
from components.records.rules import RULES, validate
from components.records.schema import JUDGMENTS, RECORD, SCHEMA_VERSION, Record
from components.records.views import (
    Comparison,
    Comparisons,
    Demonstration,
    Demonstrations,
    Labeled,
    LabeledCompletion,
    RankedList,
    RankedLists,
    comparisons,
    demonstrations,
    labeled,
    ranked_lists,
    votes_of,
)

__all__ = [
    "FLAGS",
    "JUDGMENTS",
    "RECORD",
    "RULES",
    "SCHEMA_VERSION",
    "UNKNOWN",
    "Comparison",
    "Comparisons",
    "Converted",
    "Demonstration",
    "Demonstrations",
    "Groups",
    "Labeled",
    "LabeledCompletion",
    "Labelled",
    "Pair",
    "RankedList",
    "RankedLists",
    "Record",
    "Scored",
    "VoteShare",
    "binary_to_pairs",
    "candidate_text",
    "canonical_json",
    "comparisons",
    "complete",
    "demonstrations",
    "flags",
    "labeled",
    "make_record",
    "messages",
    "normal_key",
    "prompt_key",
    "ranked_lists",
    "ranking_to_pairs",
    "read_lines",
    "read_parquet",
    "read_records",
    "record_id",
    "scores_to_pairs",
    "shared_prompts",
    "simple_task",
    "split_of",
    "text_candidate",
    "validate",
    "votes_of",
    "votes_to_probability",
    "write_lines",
    "write_parquet",
    "write_records",
]
