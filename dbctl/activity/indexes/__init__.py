"""Indexes that are invalid, superfluous, unused or lacking, and how to mend that."""
