"""Sessions over one connection: topics asked for, served and refused, pings, pauses, and what a bad message does."""
