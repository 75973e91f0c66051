"""Put preference models side by side in one artifact, with a card that says how their scores become one."""

from __future__ import annotations

from components.contract import Inputs, Metrics, Outputs
from components.model_combination.params import Params
from components.preference_models.model import save_combined


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the combined preference_model. Raises ArtifactError for a member that gives no scores."""
    members = [(item.path, item.id) for item in inputs.many("models")]
    save_combined(members, params.kind, outputs["model"])
    return {"members": len(members)}
