"""Who waits for whom, and how to end it."""
