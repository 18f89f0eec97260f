"""What connectors and consumers share as processes: their start and end, logs, printed lines, the HTTP server."""
