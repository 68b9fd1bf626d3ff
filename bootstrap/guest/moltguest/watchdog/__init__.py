"""The watchdog: ends one agent that leaks, before the guest suffers; it starts no program, and judges by no text."""
