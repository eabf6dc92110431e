"""The data folder of a long-lived server: where it is, which major made it, how it is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from dbctl.errors import Failed
from dbctl.postgres.binaries import Binaries
from dbctl.postgres.cluster import SETTINGS_FILE, make_cluster, render_settings, short_hash
from dbctl.postgres.privileges import Launcher
from dbctl.postgres.runtime import private_folder


class DataFolder:
    """``data`` in a home folder; elsewhere, behind a link, if PostgreSQL's user may not enter that home."""

    def __init__(self, home: Path, launcher: Launcher) -> None:
        self.home = home.resolve()
        self.name = short_hash(str(self.home))
        self._launcher = launcher

    @cached_property
    def path(self) -> Path:
        """The folder that PostgreSQL calls its data directory."""
        nearest = next(one for one in (self.home, *self.home.parents) if one.is_dir())
        if self._launcher.may_enter(nearest):
            return self.home / "data"
        return Path("/var/tmp") / f"dbctl-{os.getuid()}-{self.name}" / "data"  # noqa: S108 - checked when made

    @property
    def major(self) -> int | None:
        """The major version that made it; None if nothing is there yet."""
        with suppress(OSError):
            return int((self.path / "PG_VERSION").read_text())
        return None

    def prepare(self) -> None:
        """Make the home, which git ignores, and what leads to the data."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / ".gitignore").write_text("*\n")
        if self.path.parent != self.home:
            private_folder(self.path.parent, self._launcher)
            with suppress(FileExistsError):
                (self.home / "data").symlink_to(self.path)

    def initialise(self, binaries: Binaries) -> None:
        """Run initdb, once; under another name first, so that nothing half made is taken for data."""
        if self.major:
            return
        fresh = self.path.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._launcher.give(fresh)
        make_cluster(binaries, self._launcher, fresh, checksums=True)
        fresh.rename(self.path)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write our settings; what ALTER SYSTEM says still wins."""
        file = self.path / SETTINGS_FILE
        file.write_text(render_settings(settings))
        self._launcher.give(file)

    def forget_crash(self, sockets: Path) -> None:
        """Remove the pid files of a server that is no more: their number may be another process's by now."""
        for stale in (self.path / "postmaster.pid", *sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def insist_on(self, binaries: Binaries) -> Binaries:
        """The same binaries, if they can serve this data."""
        if self.major in (None, binaries.major):
            return binaries
        raise Failed(
            f"{self.path} can't be used by PostgreSQL {binaries.version} ({binaries.origin})",
            why=f"PostgreSQL {self.major} made it, and a data folder serves one major version",
            hint=f"install PostgreSQL {self.major}, or remove {self.home} to start afresh (its data is lost)",
        )
