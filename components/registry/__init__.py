"""The model registry: aligned models with lineage, a gate's verdict, aliases and a promotion ledger, kept in MLflow.

Torch-free; MLflow is imported when a `Registry` first talks to the server, not before.
"""

from components.registry.ledger import CHALLENGER, CHAMPION, Entry
from components.registry.registry import ChampionChanged, Registry, verify
from components.registry.version import VersionInfo

__all__ = ["CHALLENGER", "CHAMPION", "ChampionChanged", "Entry", "Registry", "VersionInfo", "verify"]
