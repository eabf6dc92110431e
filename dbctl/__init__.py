"""dbctl looks after a team's PostgreSQL database for its whole life."""

__version__ = "0.1.0"
