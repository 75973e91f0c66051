"""One hand-worked case for every measure: the evidence, where it is taken, the value with its arithmetic.

BASIC is the evidence of most cases: four prompts, two systems, four comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import exp, log, sqrt

from components.judges import PairResult, Verdict
from components.measures.evidence import (
    Answers,
    Decided,
    Evidence,
    Likelihood,
    Prompt,
    Ranked,
    Testimony,
    TestSet,
)
from components.records import Comparison
from components.records.samples import Sample
from components.statistics import Bootstrap

SCORES = {"candidate": [2.0, 1.0, 0.0, 3.0], "reference": [1.0, 1.0, 2.0, 0.0]}
A, B, TIE, NONE = Verdict("a"), Verdict("b"), Verdict("tie"), Verdict(None)
RESULTS = [
    PairResult(1.0, "a", True, A, A),
    PairResult(0.5, "tie", None, TIE, TIE, identical=True),
    PairResult(0.5, "tie", False, A, B),
    PairResult(None, None, None, A, NONE),
]


def sample(i: int, text: str, ids: tuple[int, ...], finish: str = "eos") -> Sample:
    message = {"role": "user", "content": f"prompt {i}"}
    return Sample(f"p{i}", (message,), 0, text, ids, (-1.0,) * len(ids), finish, 0, i + 1)


def answers(name: str, samples: list[Sample]) -> Answers:
    sampler = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": 0}
    return Answers(name, f"{name}-samples", f"{name}-policy", "vocabulary", sampler, samples)


def comparison(i: int, chosen: str, rejected: str, source: str = "north") -> Comparison:
    message = {"role": "user", "content": f"prompt {i}"}
    return Comparison((message,), chosen, rejected, 1.0, 0.0, 0.0, 1.0, f"r{i}", f"r{i}", source, "human", False)


def held_out(pairs: list[tuple[str, str]], sources: list[str]) -> TestSet:
    items = [comparison(i, *pair, source=sources[i % len(sources)]) for i, pair in enumerate(pairs)]
    n = len(sources)
    asked = [Prompt(f"p{i}", ({"role": "user", "content": f"prompt {i}"},), sources[i]) for i in range(n)]
    decided = Decided(items, [f"p{i}" for i in range(len(items))], [("", "")] * len(items), ["north"] * len(items))
    train = [comparison(9, "good", "bad"), comparison(10, "good", "bad")]
    return TestSet(asked, n, decided, 0, {}, train, [True, *[False] * (n - 1)], [True, True, *[False] * (n - 2)])


def says(**said: object) -> Testimony:
    gives = ("wins", "side_scores", "scores", "ranked", "judged")
    return Testimony("reward_model", "reward model", gives, **said)  # type: ignore[arg-type]


BASIC = Evidence(
    test=held_out([("good one", "bad"), ("good", "bad one"), ("abc", "abc"), ("good x", "bad")], ["north"] * 4),
    systems={
        "candidate": answers(
            "candidate",
            [
                sample(0, "abcd", (1, 2, 1, 2)),
                sample(1, "ab", (1, 2)),
                sample(2, "", (3,)),
                sample(3, "abcabc", (1, 2, 3, 1, 2, 3), "length"),
            ],
        ),
        "reference": answers(
            "reference",
            [
                sample(0, "abc", (1, 2, 3)),
                sample(1, "ab", (1, 2)),
                sample(2, "abcd", (1, 2, 3, 4)),
                sample(3, "a", (1,)),
            ],
        ),
    },
    witnesses=[
        says(
            wins={"reference": [1.0, 0.5, 0.0, 1.0]},
            scores=SCORES,
            ranked=Ranked([1.0, -1.0, 0.0, 1.0]),
            judged={"reference": RESULTS},
        )
    ],
    likelihoods={
        "candidate": Likelihood([-8.0, -4.0, -9.0, -3.0], [-6.0, -5.0, -9.0, -2.0], [4, 2, 3, 1], [2, 5, 3, 1], 1),
        "reference": Likelihood([-10.0, -4.0, -9.0, -3.0], [-5.0, -4.0, -9.0, -4.0], [4, 2, 3, 1], [2, 5, 3, 1]),
    },
    log_ratios={"candidate": [[0.5, 0.5, 0.0, 0.0], [1.0, -1.0], [2.0], [0.0] * 6]},
    bootstrap=Bootstrap(resamples=200),
)


def with_witness(evidence: Evidence = BASIC, **said: object) -> Evidence:
    """The evidence with other words of its witness."""
    return replace(evidence, witnesses=[replace(evidence.witnesses[0], **said)])  # type: ignore[arg-type]


def grouped() -> Evidence:
    """Two sources of 40 prompts: of the first 36 are won, of the second 20; comparisons alike."""
    values = [1.0] * 36 + [0.0] * 4 + [1.0] * 20 + [0.0] * 20
    sources = ["north"] * 40 + ["south"] * 40
    test = held_out([("a", "b")] * 80, sources)
    ranked = Ranked([2 * value - 1 for value in values])
    systems = {name: answers(name, [sample(i, "x", (1,)) for i in range(80)]) for name in ("candidate", "reference")}
    heard = with_witness(wins={"reference": values}, scores={}, judged={}, ranked=ranked)
    return replace(heard, test=test, systems=systems, log_ratios={})


def long_answers() -> Evidence:
    """Lengths 1, 40, 40, 40 against 1, 1, 1, 40 characters, scores as below."""
    own = [sample(i, "x" * n, (1,)) for i, n in enumerate((1, 40, 40, 40))]
    other = [sample(i, "x" * n, (1,)) for i, n in enumerate((1, 1, 1, 40))]
    systems = {"candidate": answers("candidate", own), "reference": answers("reference", other)}
    scores = {"candidate": [1.0, 2.0, 2.0, 2.0], "reference": [0.0, 0.0, 0.0, 1.0]}
    won, lost = PairResult(1.0, "a", True, A, A), PairResult(0.0, "b", True, B, B)
    judged = {"reference": [won, won, lost, won]}
    return replace(with_witness(scores=scores, judged=judged), systems=systems)


def by_length() -> Evidence:
    scores = {name: [2.0 * len(text) + 1 for text in found.texts] for name, found in BASIC.systems.items()}
    return with_witness(scores=scores)


def styled() -> Evidence:
    """Two domains; in `chat` the witness prefers the better answer unless it is outdone by two levels of style.

    `code` (18 comparisons, two of each cell): right in one of the two everywhere.
    """
    plain, detailed, markdown = "concise", "detailed", "detailed_markdown"
    cells = [(a, b) for a in (plain, detailed, markdown) for b in (plain, detailed, markdown)]
    chat = [(styles, "chat", -1.0 if styles == (plain, markdown) else 1.0) for styles in cells]
    code = [(styles, "code", margin) for styles in cells for margin in (1.0, -1.0)]
    rows = [*chat, *code, (("", markdown), "chat", -1.0)]  # the last does not say both styles: left out
    items = [comparison(i, "a", "b") for i in range(len(rows))]
    keys = [f"{domain}{i % 3}" for i, (_, domain, _) in enumerate(rows)]
    decided = Decided(items, keys, [row[0] for row in rows], [row[1] for row in rows])
    return replace(with_witness(ranked=Ranked([row[2] for row in rows])), test=replace(BASIC.test, decided=decided))


@dataclass(frozen=True)
class Case:
    """`metric` is the name under which the value stands."""

    metric: str
    value: float
    evidence: Evidence = field(default=BASIC, repr=False)


P = 1 / (1 + exp(-1))  # .731059
K3 = 2 * (exp(-0.5) - 0.5) + (exp(-1) - 1 + 1) + (exp(1) - 1 - 1) + (exp(-2) - 1 + 2)

CASES: dict[str, Case] = {
    # margins 1, -1, 0, 1: right, wrong, equal, right
    "accuracy": Case("reward_model.accuracy", 2 / 4),
    "accuracy_tie_half": Case("reward_model.accuracy_tie_half", 2.5 / 4),
    "accuracy_group_min": Case("reward_model.accuracy.group_min", 0.5, grouped()),
    # 8 > 3, 4 < 7, 3 = 3, 6 > 3
    "length_accuracy": Case("baseline.length.accuracy", 2.5 / 4),
    # `good` is learned: right, right, equal texts, right
    "bag_of_words_accuracy": Case("baseline.bag_of_words.accuracy", 3.5 / 4),
    # p = .731 x 3 (one the mirror of the wrong pair) with labels 1, 1, 0, and its mirror; .5 x 2 is right
    "calibration_error": Case("reward_model.ece10", 6 / 8 * abs(2 / 3 - P)),
    "brier_score": Case("reward_model.brier", (2 * (1 - P) ** 2 + P**2 + 0.25) / 4),
    "negative_log_likelihood": Case("reward_model.nll", -(2 * log(P) + log(1 - P) + log(0.5)) / 4),
    "contamination_exact": Case("contamination.exact", 1 / 4),
    "contamination_ngram": Case("contamination.ngram_13", 2 / 4),
    # sums 1, 0, 2, 0 over 4 + 2 + 1 + 6 tokens
    "kl_sequence_k1": Case("kl.sequence_k1", 3 / 4),
    "kl_token_k1": Case("kl.token_k1", 3 / 13),
    "kl_token_k3": Case("kl.token_k3", K3 / 13),
    # tokens 4, 2, 1, 6 against 3, 2, 4, 1
    "length_mean": Case("length.mean", 13 / 4),
    "length_p95": Case("length.p95", 6),
    "length_ratio": Case("length.ratio_to_reference", 13 / 10),
    "eos_rate": Case("completions.eos_rate", 3 / 4),
    "truncated_rate": Case("completions.truncated_rate", 1 / 4),
    "empty_rate": Case("completions.empty_rate", 1 / 4),
    # 12 21 12, 12, -, 12 23 31 12 23: kinds 12 21 23 31 of 9
    "distinct_bigrams": Case("completions.distinct_2", 4 / 9),
    # 121 212: 0; 12 and 3 are too short; 123 231 312 123: 1 - 3/4
    "repetition": Case("completions.repetition", 0.25 / 4),
    "identical_to_reference": Case("completions.identical_to_reference", 1 / 4),
    # the identical pair was not asked; consistent, inconsistent, without a second verdict
    "position_consistency": Case("reward_model.position_consistency", 1 / 2),
    "first_position_rate": Case("reward_model.first_position_rate", 1.0),
    "parse_failure_rate": Case("reward_model.parse_failure_rate", 1 / 6),
    "length_correlation": Case("reward_model.length_correlation", 1.0, by_length()),
    # two pairs differ by 39 characters: the longer one wins, and loses
    "prefers_longer": Case("reward_model.prefers_longer", 1 / 2, long_answers()),
    # -8 + 10 > -6 + 5; 0 > -1; 0 = 0; 0 < 2
    "implicit_reward_accuracy": Case("implicit_reward.accuracy", 2.5 / 4),
    # -8 < -6, -4 > -5, equal, -3 < -2
    "ranking_accuracy": Case("ranking.accuracy", 1.5 / 4),
    # -2 > -3, -2 < -1, equal, -3 < -2
    "ranking_accuracy_per_token": Case("ranking.accuracy_per_token", 1.5 / 4),
    # chat: only the cell (plain, markdown) is wrong, one of three hard ones; code: half everywhere
    "rm_bench_easy": Case("reward_model.rm_bench.easy", (1 + 1 / 2) / 2, styled()),
    "rm_bench_normal": Case("reward_model.rm_bench.normal", (1 + 1 / 2) / 2, styled()),
    "rm_bench_hard": Case("reward_model.rm_bench.hard", (2 / 3 + 1 / 2) / 2, styled()),
    "rm_bench_average": Case("reward_model.rm_bench.average", ((1 + 1 + 2 / 3) / 3 + 1 / 2) / 2, styled()),
    "win_rate": Case("win_rate.reward_model.vs_reference", 2.5 / 4),
    # longer by 1, 0, -4, 5 characters: (1 + .25 + 1) / 2.5 where longer, (.25 + 0) / 1.5 where shorter
    "win_rate_length_balanced": Case(
        "win_rate_length_balanced.reward_model.vs_reference", (2.25 / 2.5 + 0.25 / 1.5) / 2
    ),
    "win_rate_group_min": Case("win_rate.reward_model.vs_reference.group_min", 0.5, grouped()),
    # differences 1, 0, -2, 3; the reference's 1, 1, 2, 0 have variance 1/2
    "gain": Case("gain.reward_model.vs_reference", 0.5 / sqrt(0.5)),
    # bins short and long: candidate 1:3, opponent 3:1; total 7/4 - 1/4, within (1/4 + 3/4)/2 in both bins
    "gain_within_length": Case("gain_within_length.reward_model.vs_reference", 1 / 1.5, long_answers()),
}
