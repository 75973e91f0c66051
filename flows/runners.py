"""The runner that settings name."""

from __future__ import annotations

from flows.local import LocalRunner
from flows.runner import Runner
from flows.settings import Settings


def open_runner(settings: Settings) -> Runner:
    """Raises UserError if it cannot work as configured."""
    if settings.runner == "local":
        return LocalRunner()
    from flows.kubernetes.runner import KubernetesRunner  # its client is heavy, and a laptop needs none

    return KubernetesRunner(settings)
