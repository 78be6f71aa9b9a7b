"""What is better than the published state of the art, measured at equal accounting."""
