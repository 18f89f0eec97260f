"""What `tickbridge check` finds out: whether Redis and the exchanges will do, and how much memory the streams may take."""
