"""One module a room: a frozen result becomes rows for a person."""
