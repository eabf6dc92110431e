"""What a database's catalog says, as plain values."""
