"""Experiments on one's own problems: several estimators, learning rates and seeds, compared."""
