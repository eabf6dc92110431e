"""A database with all sorts of things in it, a folder for its backups, and servers of other versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dbctl.backup.archive import Archive
from dbctl.backup.create import create_backup
from dbctl.backup.encryption import NO_KEYS, Keyring
from dbctl.backup.folder import BackupFolder
from dbctl.backup.manifest import render
from dbctl.backup.model import Backup, Request, Say, ignore
from dbctl.backup.restore import Finish, restore_backup
from dbctl.backup.restore_model import Restored, RestoreOptions
from dbctl.database import ConnInfo, Target
from dbctl.database.password import password_source
from dbctl.errors import ToolMissing
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import BackupSettings, Loaded, Settings
from tests.fixtures.database import execute

VARIETY = (
    "CREATE TABLE plain (id int PRIMARY KEY, doubled int GENERATED ALWAYS AS (id * 2) STORED)",
    "INSERT INTO plain SELECT generate_series(1, 500)",
    'CREATE TABLE "[/red] ""quoted"" äöü:x%s" ("[col]" text)',
    """INSERT INTO "[/red] ""quoted"" äöü:x%s" VALUES ('a'), (NULL)""",
    "CREATE TABLE measured (day date, value int) PARTITION BY RANGE (day)",
    "CREATE TABLE measured_2025 PARTITION OF measured FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "INSERT INTO measured SELECT date '2025-12-01' + n, n FROM generate_series(0, 59) AS n",
    "SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'))",
    "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM plain",
    "CREATE SCHEMA app",
    "CREATE TABLE app.alembic_version (version_num text)",
    "INSERT INTO app.alembic_version VALUES ('abc123')",
)
# Makes pg_restore stop where a test wants it, and nobody else.
SLOW_TO_RESTORE = (
    """CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
         IF current_setting('application_name') LIKE '%pg_restore%' THEN PERFORM pg_sleep(60); END IF;
         RETURN i; END $$""",
    "CREATE TABLE slowly AS SELECT 1 AS i",
    "CREATE INDEX ON slowly (slow(i))",
)
FAILS_TO_RESTORE = tuple(
    statement.replace("PERFORM pg_sleep(60)", "RAISE 'no luck today'") for statement in SLOW_TO_RESTORE
)


@dataclass(frozen=True)
class Room:
    """The use cases on one database and one folder."""

    target: Target
    folder: BackupFolder
    settings: BackupSettings = field(default_factory=BackupSettings)
    keyring: Keyring = NO_KEYS

    @property
    def conninfo(self) -> ConnInfo:
        return self.target.conninfo

    async def backup(self, request: Request | None = None, **settings: Any) -> Backup:
        changed = self.settings.model_copy(update=settings)
        return (await create_backup(self.target, [self.folder], changed, request)).backup

    async def restore(
        self, backup: Backup, *, say: Say = ignore, finish: Finish | None = None, **options: Any
    ) -> Restored:
        archive, wanted = Archive(backup, self.keyring), RestoreOptions(**options)
        return await restore_backup(self.target, archive, self.settings, wanted, finish=finish, say=say)

    def execute(self, *statements: str) -> list[Any]:
        return execute(self.conninfo, *statements)

    def leftovers(self) -> list[Path]:
        return list((self.folder.path / ".partial").iterdir())

    def databases(self) -> set[str]:
        """The names beside ours."""
        found = execute(self.conninfo.with_database("postgres"), "SELECT datname FROM pg_database")
        return {name for (name,) in found if name.startswith(self.conninfo.database)}

    def drop(self) -> None:
        """Remove what a restore left on purpose."""
        for name in self.databases() - {self.conninfo.database}:
            execute(
                self.conninfo.with_database("postgres"),
                f"DROP DATABASE {quote_identifier(name)} WITH (FORCE)",
            )


def target_on(conninfo: ConnInfo, root: Path, environment: str = "test") -> Target:
    """A Target without files or variables behind it."""
    settings = Settings()
    loaded = Loaded(environment, settings, {}, root)
    return Target(environment, conninfo, loaded, password_source(conninfo, settings.database))


def room_on(conninfo: ConnInfo, root: Path, environment: str = "test") -> Room:
    return Room(target_on(conninfo, root, environment), BackupFolder(root / "backups"))


@pytest.fixture
def room(empty_conninfo: ConnInfo, tmp_path: Path) -> Iterator[Room]:
    """A database full of variety."""
    execute(empty_conninfo, *VARIETY)
    room = room_on(empty_conninfo, tmp_path)
    yield room
    room.drop()


@pytest.fixture
def damage() -> Callable[..., None]:
    """Change a backup's manifest behind dbctl's back."""
    import json

    def change(backup: Backup, **values: Any) -> None:
        file = Path(backup.path) / "manifest.json"
        data = json.loads(file.read_text())
        file.write_text(json.dumps({**data, **values}))

    return change


@pytest.fixture
def reseal() -> Callable[..., Backup]:
    """Write another manifest, as somebody with the key could."""

    def change(room: Room, backup: Backup, **values: Any) -> Backup:
        assert backup.manifest
        (Path(backup.path) / "manifest.json").write_text(
            render(replace(backup.manifest, **values), room.folder.key)
        )
        return next(one for one in room.folder.backups() if one.id == backup.id)

    return change


@pytest.fixture(scope="module")
def versions() -> Iterator[Callable[[int], ConnInfo]]:
    """A server of a given major; skips where the machine has none."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        servers: dict[int, ConnInfo] = {}

        def server_of(major: int) -> ConnInfo:
            if major not in servers:
                try:
                    servers[major] = ConnInfo(stack.enter_context(scratch_server(major)).params)
                except ToolMissing:
                    pytest.skip(f"no PostgreSQL {major} here")
            return servers[major]

        yield server_of


@pytest.fixture
def flip() -> Callable[..., None]:
    """Flip one bit of a backup's archive."""

    def change(backup: Backup, bit: int = 0) -> None:
        file = Path(backup.path) / "archive.dump"
        data = bytearray(file.read_bytes())
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        file.write_bytes(data)

    return change
