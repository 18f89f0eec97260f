"""Sessions of accounts: the log-in, the present state by REST, and what is known over restarts."""
