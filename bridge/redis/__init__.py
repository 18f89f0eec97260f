"""Redis: where it is, how it fails, who may write, and what a connector shows of itself there beside its streams."""
