"""Faults on purpose, and the audit of the streams after them (``tickbridge chaos``)."""
