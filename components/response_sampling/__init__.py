"""Completions of a policy for the prompts of a feedback set."""
