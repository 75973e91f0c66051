"""Every table of the house in one place, what they say printed and written down. Torch-free."""

from components.methods.tables import TABLES

__all__ = ["TABLES"]
