"""What the server is doing: who waits for whom, which statements cost most, which indexes are wrong or missing."""
