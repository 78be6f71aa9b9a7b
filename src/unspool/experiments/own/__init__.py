"""Experiments on problems of the user's own: tuning, and trying a learned optimizer."""
