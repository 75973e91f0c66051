"""The simulated world behind the embedded default and many tests: prompts, writers, the truth, annotators."""
