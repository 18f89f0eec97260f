"""The I/O around a session: connect, keep alive, watch for silence, back off, replace. Knows no exchange, no Redis."""
