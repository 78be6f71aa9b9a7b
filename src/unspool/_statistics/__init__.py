"""Statistics over seeds, of what runs have logged."""
