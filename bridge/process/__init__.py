"""What connectors and consumers share as processes: start and end, logs, printed lines, the HTTP server."""
