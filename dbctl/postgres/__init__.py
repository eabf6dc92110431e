"""What is PostgreSQL's own: programs, the embedded server, catalog, locks, identifiers."""
