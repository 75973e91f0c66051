"""Prefect flows, one file per business process, and the bridge that runs a component somewhere."""
