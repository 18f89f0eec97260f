"""``tickbridge up``: a server, connectors, books and a view with one command, without a config."""
