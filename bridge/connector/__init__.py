"""A connector: feed, sequencer and publisher of one exchange, put together and kept running."""
