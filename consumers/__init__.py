"""Readers of the streams: the typed reader, and the services that keep order books and wallets."""
