"""Prompt contracts: one file, one class, one row each."""
