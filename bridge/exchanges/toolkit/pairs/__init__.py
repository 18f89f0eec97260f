"""What an exchange lists, by which names, on which hosts, and how pairs are shared out over connections."""
