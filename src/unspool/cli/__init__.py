"""The command line: `unspool train`, `report`, `reproduce`, `list` and `cite`."""
