"""``dbctl migrate verify`` and ``check``: whether revisions go back, and whether a database is where it should be."""
