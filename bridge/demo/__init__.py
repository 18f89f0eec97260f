"""The demo: a server, a simulated exchange, a connector and the consumers on one machine, with a live view."""
