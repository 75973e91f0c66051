"""Rules: one function and one row each."""
