"""Redis: connecting, errors, the lease, and what a connector writes besides its streams."""
