"""Users from files and into files: streamed, whatever their size."""
