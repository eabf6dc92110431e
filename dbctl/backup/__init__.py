"""Backups: written, listed, verified and restored."""
