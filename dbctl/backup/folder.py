"""A folder of backups on a disk."""

from __future__ import annotations

from pathlib import Path

from dbctl.backup.disk import FolderStorage
from dbctl.backup.repository import Repository


class BackupFolder(Repository):
    """The backups in a folder of this machine."""

    def __init__(self, path: Path, key: bytes | None = None) -> None:
        super().__init__(FolderStorage(path), key)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.place)
