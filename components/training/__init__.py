"""Training and scoring shared by every component that runs a model: one loop, one way to turn text into token ids, one
way to get log-probabilities. `params` is torch-free; the other modules are imported by `run.py` only."""
