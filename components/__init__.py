"""The versioned components of preflow and the libraries they share.

A folder here with a `component.yaml` is a component; one without is a library.
"""
