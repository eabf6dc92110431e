"""Which statements cost most, and which run too long."""
