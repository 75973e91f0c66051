"""Sampling completions from a causal language model. `params` is torch-free; `sample` needs torch."""
