"""Puts aside what is about to be lost: a folder of files for our eyes only, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Failed
from dbctl.migrate.loss.look import Look
from dbctl.migrate.loss.model import Outlook, Saved, SavedFile
from dbctl.migrate.loss.parts import Part, parts_of
from dbctl.migrate.loss.shape import TableShape
from dbctl.migrate.site import Site
from dbctl.postgres.binaries import find_client
from dbctl.postgres.client import run_tool

ARCHIVE, SCRIPT, MANIFEST = "tables.dump", "bring_back.sql", "manifest.json"
_LOCK_WAIT_SECONDS = 5
_LONGEST_SECONDS = 24 * 3600
# We wait for pg_dump in our transaction, whose snapshot it shares.
_SETTINGS = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('lock_timeout', :lock_ms, true), set_config('row_security', 'off', true)
"""
_SNAPSHOT = "SELECT pg_export_snapshot(), CAST(current_setting('server_version_num') AS int) / 10000"


async def save(site: Site, seen: Look, folder: Path) -> Saved | None:
    """Write what ``seen`` is about to lose into a new folder below ``folder``; None where that is nothing.

    All of it as of one moment (an exported snapshot); what is written there after it is not in it. Raises Failed,
    Busy, ToolMissing, ToolFailed, and leaves nothing then.
    """
    parts = parts_of(seen)
    if not parts:
        return None
    at = datetime.now(UTC)
    outlook = seen.outlook
    final = folder / f"{_plain(outlook.database)}-{at:%Y%m%dT%H%M%S%fZ}-{_plain('-'.join(outlook.current))}"
    partial = final.with_name(f".{final.name}.partial")
    with _errors_of(folder), _new_folder(partial, final):
        files = await _write(site, partial, parts.tables, parts.rows)
        commands = tuple(_commands(final, outlook, files))
        saved = Saved(final, outlook.database, at, outlook.current, tuple(files), commands)
        _put(partial / MANIFEST, json.dumps(asdict(saved), default=_as_text, indent=2) + "\n")
    return saved


async def _write(
    site: Site, folder: Path, tables: Sequence[TableShape], parts: Sequence[Part]
) -> list[SavedFile]:
    files = []
    async with site.database.session() as session:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        await session.connection(execution_options=options)
        await session.execute(text(_SETTINGS), {"lock_ms": f"{_LOCK_WAIT_SECONDS * 1000}"})
        snapshot, major = (await session.execute(text(_SNAPSHOT))).one()
        files += [await _copy(session, part, folder) for part in parts]
        if tables:
            files.append(await _dump(site, tables, folder / ARCHIVE, snapshot, major))
    if parts:
        _put(folder / SCRIPT, "".join(part.back for part in parts))
    return files


async def _copy(session: AsyncSession, part: Part, folder: Path) -> SavedFile:
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    with _written(folder / f"{part.name}.csv") as file:
        status = await driver.copy_from_query(
            part.query, output=file, format="csv", header=True, timeout=_LONGEST_SECONDS
        )
    described = _described(folder / f"{part.name}.csv")
    rows = int(str(status).rpartition(" ")[2])
    return replace(described, kind="csv", tables=(part.table.shown,), rows=rows, columns=part.columns)


async def _dump(
    site: Site, tables: Sequence[TableShape], archive: Path, snapshot: str, major: int
) -> SavedFile:
    address = site.address
    pg_dump = await asyncio.to_thread(find_client, "pg_dump", major)
    pg_restore = await asyncio.to_thread(find_client, "pg_restore", major)
    with _written(archive) as file:
        await run_tool(
            pg_dump,
            "--format=custom",
            "--no-password",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={_LOCK_WAIT_SECONDS * 1000}",
            *(f"--table={_pattern(one.schema)}.{_pattern(one.name)}" for one in tables),
            environment=address.libpq_environment(),
            password=address.password,
            sink=lambda chunk: _append(file, chunk),
        )
    # What can't be listed could not be restored.
    await run_tool(pg_restore, "--list", str(archive), environment={})
    return replace(_described(archive), kind="archive", tables=tuple(one.shown for one in tables))


def _commands(folder: Path, outlook: Outlook, files: Sequence[SavedFile]) -> Iterator[str]:
    """For after the next `up`, when tables and columns are there again."""
    yield f"cd {shlex.quote(str(folder))}"
    database = f"--dbname={shlex.quote(outlook.database)}"
    if any(one.kind == "archive" for one in files):
        # Without --exit-on-error: a pg_restore newer than its server begins with a setting that one does not know.
        yield f"pg_restore --data-only {database} {ARCHIVE}"
    if any(one.kind == "csv" for one in files):
        yield f"psql --no-psqlrc --set=ON_ERROR_STOP=1 --single-transaction {database} --file={SCRIPT}"


def _pattern(name: str) -> str:
    """A pattern of pg_dump's that means one name: within quotes nothing is special but the quote."""
    return '"' + name.replace('"', '""') + '"'


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name)[:80]


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A new file, ours alone to read, that is on the disk when the block ends."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _append(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)


def _put(path: Path, words: str) -> None:
    with _written(path) as file:
        file.write(words.encode())


def _described(path: Path) -> SavedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SavedFile(path.name, "csv", (), path.stat().st_size, digest)


@contextmanager
def _new_folder(partial: Path, final: Path) -> Iterator[None]:
    """A folder that has its name once the block has filled it; otherwise nothing stays of it."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir(mode=0o700)
    try:
        yield
        _sync(partial)
        partial.rename(final)
        _sync(final.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def _errors_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(
            f"what would be lost can't be saved to {folder}; nothing was undone",
            why=error.strerror or str(error),
            hint="--save-to names another folder, --no-save does without",
        ) from error
