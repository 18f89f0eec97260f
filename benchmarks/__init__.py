"""How fast the bridge is, measured: ``python -m benchmarks --help``."""
