"""A learning rate and its decay, tuned for an objective."""
