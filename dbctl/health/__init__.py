"""What is wrong with the database, and the next step."""
