"""The published experiments: a file for each, or a folder for a family."""
