"""The record of what changed something: who, where, with what, and how it ended."""
