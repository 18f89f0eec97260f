"""From events to Redis Streams: rendering, numbering, group commit, retention and recovery."""
