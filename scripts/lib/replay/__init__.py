"""Replay of memory traces: what a rule would have said, and how it compares with what then happened."""
