"""Checks of `tickbridge check`: whether Redis and the exchanges work, and how much memory the streams may take."""
