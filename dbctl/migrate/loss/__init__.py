"""Says what undoing revisions would lose on one database, and saves it before it is lost."""
