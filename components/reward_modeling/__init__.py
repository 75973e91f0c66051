"""Fit a reward model on comparisons."""
