"""Reports as monitors and CI read them, a module a room."""
