"""Records to token sequences: one reader, one set of token rules for everything that is trained or scored. Torch-free.

    examples = read_examples(dataset / "train.jsonl", tokenizer, view="pair", keep_ties=False, max_length=1024)
    examples.items[0].sequences     # a chosen and a rejected Sequence, each with its own prompt, role and loss spans
    examples.dropped                # how many records gave no example, by reason

A view (`VIEWS`) says what an example is: which roles its sequences have and which numbers the feedback gives.
"""

from components.sequences.example import Example, Sequence
from components.sequences.read import Examples, read_examples
from components.sequences.table import VIEWS
from components.sequences.tokenize import Encoded, encode_pair, encode_prompt

__all__ = [
    "VIEWS",
    "Encoded",
    "Example",
    "Examples",
    "Sequence",
    "encode_pair",
    "encode_prompt",
    "read_examples",
]
