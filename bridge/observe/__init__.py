"""Observation of a connector: status, health and metrics."""
