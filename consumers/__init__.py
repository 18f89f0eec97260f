"""Readers of the streams: the typed reader, and the services that keep books and wallets."""
