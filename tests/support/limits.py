"""How long a test waits for what does not come."""

HANG = 3600.0
"""Seconds after which a program is taken to hang. No machine that works is as slow."""
