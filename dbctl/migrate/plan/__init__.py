"""Says what the pending revisions would do to one database, in its own numbers, before they run."""
