"""Views on a terminal: its keys, size and modes, and what several views draw."""
