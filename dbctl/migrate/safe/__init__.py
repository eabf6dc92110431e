"""Writes what autogenerate found in the form that keeps nobody waiting: several revisions, each safe."""
