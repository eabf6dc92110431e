"""Runs revisions: one runner a database, one transaction a revision, and nothing half done unsaid."""

from dbctl.migrate.runner.run import LOCK, RunOptions, down, only_runner, stamp, up

__all__ = ["LOCK", "RunOptions", "down", "only_runner", "stamp", "up"]
