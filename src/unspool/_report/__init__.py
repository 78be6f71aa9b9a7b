"""The page about runs and experiments."""
