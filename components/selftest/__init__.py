"""The corpus of silent bugs: faults that are planted into a small clean project, and where preflow must name each."""
