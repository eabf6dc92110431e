"""Puts aside what is about to be lost: a folder of files for our eyes only, whole or not at all."""

from __future__ import annotations

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
from dbctl.migrate.loss.names import qualified
from dbctl.migrate.loss.parts import Part, parts_of
from dbctl.migrate.loss.script import bring_back
from dbctl.migrate.site import Site

SCRIPT, MANIFEST = "bring_back.sql", "manifest.json"
_LOCK_WAIT_SECONDS = 5
_LONGEST_SECONDS = 24 * 3600
# Values as text that is read again as the very same.
_SETTINGS = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('lock_timeout', :lock_ms, true), set_config('row_security', 'off', true),
       set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true),
       set_config('extra_float_digits', '1', true)
"""
# Only those that have given a number.
_SEQUENCES = """
SELECT CAST(a.attname AS text), pg_sequence_last_value(CAST(d.objid AS regclass))
  FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = CAST('pg_class' AS regclass) AND d.refobjid = to_regclass(:table) AND d.deptype IN ('a', 'i')
   AND pg_sequence_last_value(CAST(d.objid AS regclass)) IS NOT NULL
 ORDER BY 1
"""


async def save(site: Site, seen: Look, folder: Path) -> Saved | None:
    """Write what ``seen`` is about to lose into a new folder below ``folder``; None where that is nothing.

    All of it as of one moment (one snapshot); what is written there after it is not in it. Raises Failed and Busy,
    and leaves nothing then.
    """
    parts = parts_of(seen)
    if not parts:
        return None
    at = datetime.now(UTC)
    outlook = seen.outlook
    final = folder / f"{_plain(outlook.database)}-{at:%Y%m%dT%H%M%S%fZ}-{_plain('-'.join(outlook.current))}"
    partial = final.with_name(f".{final.name}.partial")
    with _errors_of(folder), _new_folder(partial, final):
        files = await _write(site, partial, parts)
        commands = _commands(final, outlook)
        saved = Saved(final, outlook.database, at, outlook.current, tuple(files), commands)
        _put(partial / MANIFEST, json.dumps(asdict(saved), default=_as_text, indent=2) + "\n")
    return saved


async def _write(site: Site, folder: Path, parts: Sequence[Part]) -> list[SavedFile]:
    async with site.database.session() as session:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        await session.connection(execution_options=options)
        await session.execute(text(_SETTINGS), {"lock_ms": f"{_LOCK_WAIT_SECONDS * 1000}"})
        files = [await _copy(session, part, folder) for part in parts]
        # Of their snapshots sequences know nothing: read last, they are as far on as any row.
        inserted = dict.fromkeys(qualified(part.table) for part in parts if part.inserts)
        sequences = [one for table in inserted for one in await _sequences(session, table)]
    _put(folder / SCRIPT, bring_back(parts, sequences))
    return files


async def _sequences(session: AsyncSession, table: str) -> list[tuple[str, str, int]]:
    found = await session.execute(text(_SEQUENCES), {"table": table})
    return [(table, column, last) for column, last in found]


async def _copy(session: AsyncSession, part: Part, folder: Path) -> SavedFile:
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    # No CSV: psql before 18 takes a line that is a backslash and a full stop, within a value, for the end.
    with _written(folder / f"{part.name}.tsv") as file:
        status = await driver.copy_from_query(
            part.query, output=file, format="text", timeout=_LONGEST_SECONDS
        )
    described = _described(folder / f"{part.name}.tsv")
    rows = int(str(status).rpartition(" ")[2])
    return replace(described, tables=(part.table.shown,), rows=rows, columns=part.columns)


def _commands(folder: Path, outlook: Outlook) -> tuple[str, ...]:
    """For after the next `up`, when tables and columns are there again."""
    psql = "psql --no-psqlrc --set=ON_ERROR_STOP=1 --single-transaction"
    return (
        f"cd {shlex.quote(str(folder))}",
        f"{psql} --dbname={shlex.quote(outlook.database)} --file={SCRIPT}",
    )


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name)[:80]


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A new file, ours alone to read, that is on the disk when the block ends."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _put(path: Path, words: str) -> None:
    with _written(path) as file:
        file.write(words.encode())


def _described(path: Path) -> SavedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SavedFile(path.name, (), path.stat().st_size, digest)


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
