"""What a scorer of comparisons must beat: the longer one wins, and a bag of words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.statistics.intervals import Bootstrap, Estimate, estimate


class Pair(Protocol):
    """What a baseline reads of a comparison."""

    @property
    def messages(self) -> Sequence[dict[str, str]]: ...
    @property
    def chosen(self) -> str: ...
    @property
    def rejected(self) -> str: ...


def _prompts(pairs: Sequence[Pair]) -> list[str]:
    return [json.dumps(list(pair.messages), sort_keys=True, ensure_ascii=False) for pair in pairs]


def length_baseline(comparisons: Sequence[Pair], bootstrap: Bootstrap | None = None) -> Estimate:
    """Accuracy of "the longer completion wins" (characters; equal lengths count one half), clustered by prompt."""
    sign = [np.sign(len(pair.chosen) - len(pair.rejected)) for pair in comparisons]
    return estimate((np.array(sign, dtype=np.float64) + 1) / 2, _prompts(comparisons), bootstrap)


def bag_of_words_baseline(train: Sequence[Pair], test: Sequence[Pair], bootstrap: Bootstrap | None = None) -> Estimate:
    """Accuracy on `test` of a Bradley-Terry model whose reward is linear in word counts, fitted on `train`.

    Logistic regression on count differences, each pair in both directions and without an intercept, so that it cannot
    learn which side is chosen. Both empty inputs give an empty estimate or, with no training pairs, one half.
    """
    if not test:
        return estimate([])
    scores = _bag_of_words_scores(train, test) if train else np.zeros(len(test))
    return estimate((np.sign(scores) + 1) / 2, _prompts(test), bootstrap)


def _bag_of_words_scores(train: Sequence[Pair], test: Sequence[Pair]) -> NDArray[np.float64]:
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(token_pattern=r"\w+|[^\w\s]", max_features=20_000, dtype=np.float64)
    vectorizer.fit([text for pair in train for text in (pair.chosen, pair.rejected)] + ["."])

    def differences(pairs: Sequence[Pair]):  # type: ignore[no-untyped-def]  # a scipy sparse matrix [n, words]
        return vectorizer.transform([p.chosen for p in pairs]) - vectorizer.transform([p.rejected for p in pairs])

    rows = differences(train)
    labels = np.repeat([1, 0], len(train))
    model = LogisticRegression(fit_intercept=False, max_iter=1000, tol=1e-6)
    model.fit(vstack([rows, -rows]), labels)
    scores: NDArray[np.float64] = model.decision_function(differences(test))
    return scores
