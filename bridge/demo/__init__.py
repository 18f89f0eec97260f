"""The whole thing on one machine: server, simulated exchange, connector, consumers, and a view of what they do."""
