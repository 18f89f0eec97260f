"""Calls by REST: signed, answered or refused, in pages."""
