"""What `tickbridge tail` is made of: where to begin, which streams, their entries as lines, and the way out."""
