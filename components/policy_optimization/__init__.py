"""Optimize a policy on preference feedback with one objective of the catalogue."""
