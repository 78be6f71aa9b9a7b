"""Mutants that do what the library does, and why, by their names."""

EQUIVALENT: dict[str, str] = {}
