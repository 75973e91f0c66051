"""What can be told about a model's folder without loading it (torch-free): weights, positions, names, revision."""
