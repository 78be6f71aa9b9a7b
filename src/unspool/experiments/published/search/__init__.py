"""Searches for parameters by trials, and the experiment that tuning is compared with them in."""
