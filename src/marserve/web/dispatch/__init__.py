"""What waits for a model's workers: in which order it is sent, how much of it together, and what is refused at once."""
