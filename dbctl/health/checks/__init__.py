"""The checks, a module a topic, a function a check."""
