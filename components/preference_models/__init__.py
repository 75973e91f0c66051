"""Preference models: a backbone with one linear head whose value at the last token is the reward. Needs torch.

On disk it is what transformers calls AutoModelForSequenceClassification with one label, so other tools can read it;
scores are computed here, because there the place of the last token is guessed from the pad id.
"""

from components.preference_models.folder import load_reward_model, new_reward_model, save_reward_model
from components.preference_models.pairs import TokenPair, pair_rewards, score_pairs
from components.preference_models.scoring import probability, rewards, scores

__all__ = [
    "TokenPair",
    "load_reward_model",
    "new_reward_model",
    "pair_rewards",
    "probability",
    "rewards",
    "save_reward_model",
    "score_pairs",
    "scores",
]
