"""The parts of `tickbridge tail`: start position, selection of streams, entries as lines, and output."""
