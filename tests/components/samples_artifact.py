"""A small samples artifact, written as response_sampling writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.records import prompt_key, write_lines

POLICY = "0123456789abcdef0123456789abcdef.dir"
SAMPLER = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 0, "batch_size": 64}


def write_samples(folder: Path, prompts: dict[str, list[str | dict[str, Any]]]) -> Path:
    """`prompts`: completions by prompt; a completion is its text, or a mapping of fields that differ."""
    rows = []
    for prompt, completions in prompts.items():
        messages = [{"role": "user", "content": prompt}]
        for k, given in enumerate(completions):
            fields = given if isinstance(given, dict) else {"completion": given}
            ids = list(range(len(fields["completion"].split()) + 1))
            row = {"prompt_key": prompt_key(messages), "messages": messages, "sample": k, "token_ids": ids}
            row |= {"logprobs": [-0.5] * len(ids), "finish": "eos", "seed": k, **fields}
            rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "samples.jsonl", rows)
    summary = {"policy": POLICY, "sampler": SAMPLER, "n_prompts": len(prompts), "n_samples": len(rows)}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
