"""The contract between a component and whatever runs it: a laptop, `dvc repro`, or a Kubernetes Job. Torch-free.

A component is a folder with `component.yaml` (what an orchestrator must know), `params.py` (typed parameters) and
`run.py` (`def run(params, inputs, outputs) -> Metrics`). Everything else is done here, once.
"""

from components.contract.params import EXECUTION, Choice, build, dump, field_docs
from components.contract.record import Record, identity, load_record, record_path
from components.contract.run import Input, Inputs, Metrics, Outputs, run_component
from components.contract.spec import ARTIFACT_TYPES, Port, Spec, all_specs, check_artifact, load_params_class, load_spec

__all__ = [
    "ARTIFACT_TYPES",
    "EXECUTION",
    "Choice",
    "Input",
    "Inputs",
    "Metrics",
    "Outputs",
    "Port",
    "Record",
    "Spec",
    "all_specs",
    "build",
    "check_artifact",
    "dump",
    "field_docs",
    "identity",
    "load_params_class",
    "load_record",
    "load_spec",
    "record_path",
    "run_component",
]
