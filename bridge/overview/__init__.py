"""What is written to a Redis, and whether it arrives: streams and connectors, read from catalogs and heartbeats."""
