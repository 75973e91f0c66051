"""What is trained on and scored: sequences of tokens, and the examples they form."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby


@dataclass(frozen=True)
class Sequence:
    """A prompt and the completion that answers it (its EOS included), as token ids.

    `role`: what it is in its example (chosen, rejected, completion, listed). `spans`: which completion tokens count in
    a loss, as half-open ranges in order; None means all. `given`: numbers that the feedback gives about it.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    role: str = "completion"
    spans: tuple[tuple[int, int], ...] | None = None
    given: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @cached_property
    def counted(self) -> list[int]:
        """Places in the completion of the tokens that count."""
        if self.spans is None:
            return list(range(len(self.completion_ids)))
        return [place for start, end in self.spans for place in range(start, end)]

    @property
    def part_lengths(self) -> list[int]:
        """Tokens of each span that counts; of the whole completion where there are none."""
        return [len(self.completion_ids)] if self.spans is None else [end - start for start, end in self.spans]

    @cached_property
    def key(self) -> bytes:
        """16 bytes that name what is scored: the ids, the border between prompt and completion, and what counts."""
        digest = hashlib.blake2b(digest_size=16)
        spans = [] if self.spans is None else [-1, *(place for span in self.spans for place in span)]
        for ids in (self.prompt_ids, self.completion_ids, spans):
            digest.update(struct.pack(f"<q{len(ids)}q", len(ids), *ids))
        return digest.digest()


@dataclass(frozen=True)
class Example:
    """One row of training: any number of sequences, and numbers known before a model runs.

    `given`: numbers about the example as a whole. `weight`: a factor of its loss. `cluster`: the key of its prompt;
    examples of one prompt are not independent evidence.
    """

    sequences: tuple[Sequence, ...]
    given: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0
    cluster: str = ""

    def by_prompt(self) -> Iterator[list[Sequence]]:
        """Neighbouring sequences that answer the same prompt: what may share its computation."""
        for _, group in groupby(self.sequences, key=lambda sequence: sequence.prompt_ids):
            yield list(group)

    @property
    def separate_tokens(self) -> int:
        """Tokens, padding included, of a row for each sequence."""
        return len(self.sequences) * max(map(len, self.sequences))

    @property
    def shared_tokens(self) -> int:
        """Tokens where a prompt is computed once for the sequences that answer it."""
        return sum(map(shared_length, self.by_prompt()))


def shared_length(group: list[Sequence]) -> int:
    """Tokens of one row that holds a prompt and all its completions."""
    return len(group[0].prompt_ids) + sum(len(sequence.completion_ids) for sequence in group)
