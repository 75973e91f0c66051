"""The model that preference learning starts from: a hub id, a local folder, or a tiny one trained on the feedback."""
