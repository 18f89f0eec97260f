"""The demo's full-screen view."""
