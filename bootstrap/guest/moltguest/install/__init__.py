"""How a guest gets its tools: versions side by side, one link that says which counts, a record of every file."""
