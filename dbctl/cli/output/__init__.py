"""What a command says: streams, JSON, tables, progress."""
