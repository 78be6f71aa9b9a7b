"""Experiments on one's own problems: comparing, tuning, applying a learned optimizer, playing."""
