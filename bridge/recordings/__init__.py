"""Recordings of an exchange's traffic: the format, what is left out of it, and serving one as the exchange would."""
