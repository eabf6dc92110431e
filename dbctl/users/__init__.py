"""The user repository."""
