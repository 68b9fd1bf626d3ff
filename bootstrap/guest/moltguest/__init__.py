"""What runs inside a guest: the standard library of Python 3.10 and nothing else; it never imports moltfleet."""
