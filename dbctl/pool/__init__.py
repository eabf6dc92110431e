"""The pool of connections: who holds them, whether they suffice, and what stands in between."""
