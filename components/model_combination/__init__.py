"""One preference model over several."""
