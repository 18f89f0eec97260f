"""``tickbridge top``: a live view of the streams and connectors of any Redis."""
