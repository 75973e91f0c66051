"""Votes by simulated annotators of the small world, in a labeling tool's format."""
