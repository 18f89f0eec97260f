"""Recordings of an exchange's traffic: format, redaction, and replay."""
