"""What a witness says of texts, pairs and comparisons."""
