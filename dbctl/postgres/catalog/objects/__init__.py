"""The whole catalog of a database as a value, and what differs between two of them."""

from dbctl.postgres.catalog.objects.difference import Difference, Differences, differences
from dbctl.postgres.catalog.objects.model import Item, Key, Snapshot
from dbctl.postgres.catalog.objects.read import Reader, read_snapshot

__all__ = ["Difference", "Differences", "Item", "Key", "Reader", "Snapshot", "differences", "read_snapshot"]
