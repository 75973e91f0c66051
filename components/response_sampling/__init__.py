"""Completions of a policy for the prompts of a feedback set or of a split of a data set."""
