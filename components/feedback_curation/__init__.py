"""From any number of feedback sets to one data set that training can trust, and its data card."""
