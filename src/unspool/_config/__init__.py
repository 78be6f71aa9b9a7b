"""The settings of a training as data, what is built of them, and the run that they make."""
