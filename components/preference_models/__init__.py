"""Preference models and what they have in common with whoever else prefers: witnesses. The kinds are rows of a table.

    model = load_preference_model(folder, compute)        # model.py; needs torch, as network.py and readings.py do
    model.compare([TextPair(messages, "Paris.", "Lyon.")])    # [0.93]: P(the first is preferred)
    model.score([Text(messages, "Paris.")])                   # [1.7], or None if this kind knows only pairs

This file and the table need no torch.
"""

from components.preference_models.table import PREFERENCE_MODELS, gives, is_scored
from components.preference_models.witness import Pair, Text, TextPair, Witness

__all__ = [
    "PREFERENCE_MODELS",
    "Pair",
    "Text",
    "TextPair",
    "Witness",
    "gives",
    "is_scored",
]
