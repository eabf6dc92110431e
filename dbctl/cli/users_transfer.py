"""``dbctl users import`` and ``export``: the steps between a file and the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from dbctl.cli.command import Invocation
from dbctl.cli.standard_input import standard_input
from dbctl.errors import UsageError
from dbctl.users.transfer.export import Export, checked_fields
from dbctl.users.transfer.files import created, format_of, opened, text_of
from dbctl.users.transfer.load import Wishes, import_in_batches, import_users
from dbctl.users.transfer.reading import parse_mapping, read_rows
from dbctl.users.transfer.rejects import Rejects, open_rejects

__all__ = ["Export", "Source", "Wishes", "checked_fields", "export_file", "import_file"]

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from dbctl.users.transfer.model import Format, Imported, Rejected, Row

STANDARD = Path("-")


@dataclass(frozen=True, slots=True)
class Source:
    """The file of an import, and how it is to be read."""

    path: Path
    format: Format | None
    headers: tuple[str, ...]
    encoding: str

    def fingerprint(self, wishes: Wishes) -> str:
        """The same for the same bytes, read and taken the same way. Raises UsageError for stdin."""
        if self.path == STANDARD:
            raise UsageError(
                "--batch reads from a file", why="stdin can't be read a second time, to go on there"
            )
        how = "\0".join((self.format or "", self.encoding, wishes.on_conflict, *self.headers))
        digest = sha256(how.encode())
        with opened(self.path) as raw:
            while piece := raw.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def is_at(self, path: Path) -> bool:
        """Whether that path is this file, whatever it is called there."""
        return self.path != STANDARD and self.path.exists() and path.exists() and self.path.samefile(path)

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row | Rejected]]:
        """What is written in it. Raises UsageError where it is no file of users."""
        mapping, format_ = (
            parse_mapping(self.headers),
            format_of(self.path.name, self.format, option="--file-format"),
        )
        with self._raw() as raw, text_of(raw, str(self.path), self.encoding) as text:
            yield read_rows(text, format_, mapping)

    @contextmanager
    def _raw(self) -> Iterator[BinaryIO]:
        with standard_input() if self.path == STANDARD else opened(self.path) as raw:
            yield raw


async def import_file(
    run: Invocation, source: Source, wishes: Wishes, rejects: Path | None, batch_rows: int
) -> None:
    """Read, check, add; say what was turned away."""
    from dbctl.cli.output.views import transfer as view

    if rejects is not None and source.is_at(rejects):
        raise UsageError(f"{rejects} can't be both read and written", hint="name another file for --rejects")
    fingerprint = source.fingerprint(wishes) if batch_rows else ""
    action = "tries the import of" if wishes.dry_run else "imports"
    with source.rows() as rows, open_rejects(rejects, keep=bool(batch_rows)) as turned_away:
        async with run.database(
            write=f"{action} users from {source.path}", direct=False, statement_timeout=0, command_timeout=0
        ) as database:
            if wishes.on_conflict == "update" and not wishes.dry_run:
                run.ask("Change users that are there already?")
            with run.progress("Importing", unit="rows") as progress:
                if batch_rows:
                    done = await import_in_batches(
                        database,
                        rows,
                        wishes,
                        fingerprint=fingerprint,
                        batch_rows=batch_rows,
                        rejects=turned_away,
                        progress=progress,
                    )
                else:
                    done = await import_users(database, rows, wishes, rejects=turned_away, progress=progress)
    _say_what_was_rejected(run, turned_away, done, rejects)
    run.emit(done, view.imported)
    run.verdict(not done.rejected)


def _say_what_was_rejected(
    run: Invocation, turned_away: Rejects, done: Imported, rejects: Path | None
) -> None:
    for one in turned_away.first:
        run.say(f"line {one.line}: {one.field + ': ' if one.field else ''}{one.why}")
    if turned_away.count > len(turned_away.first):
        run.say(f"and {turned_away.count - len(turned_away.first)} more")
    if done.rejected and rejects is not None:
        run.say(f"the rejected rows are in {rejects}: mend and import them")
    elif done.rejected and not done.dry_run and not done.added + done.updated + done.skipped:
        run.say("nothing was imported: add --rejects FILE to import the other rows")


async def export_file(
    run: Invocation, path: Path, format_: Format | None, export: Export, *, primary: bool
) -> None:
    """Write them to a file, or to stdout; from a standby where one keeps up."""
    chosen = format_ or ("csv" if path == STANDARD else format_of(path.name, None, option="--format"))

    with run.progress("Exporting", unit="rows") as progress, _written(path) as stream:

        async def write(session: AsyncSession) -> int:
            return await export.write(session, stream, chosen, progress)

        async with run.reads(primary=primary, patience=0) as reads:
            rows = await reads.run(write)
    run.say(f"{rows} users written{'' if path == STANDARD else f' to {path}'}")


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    if path != STANDARD:
        with created(path) as stream:
            yield stream
    else:
        yield cast("TextIO", sys.stdout)
        sys.stdout.flush()
