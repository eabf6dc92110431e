"""Files of users, in and out of a real table."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest

from dbctl.database import Database
from dbctl.users.transfer.export import Export
from dbctl.users.transfer.load import Wishes, import_in_batches, import_users
from dbctl.users.transfer.model import Imported, Rejected
from dbctl.users.transfer.reading import read_rows
from dbctl.users.transfer.rejects import Rejects

ALLOWING = Wishes(all_or_nothing=False)
NOTHING: Mapping[str, str] = {}


class Transfer:
    """Imports texts and exports to them, as the command line does with files."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rejected: list[Rejected] = []

    async def take(self, text: str, wishes: Wishes = ALLOWING, *, mapping=NOTHING, format_="csv") -> Imported:
        rejects = Rejects(None, "csv")
        rows = read_rows(io.StringIO(text, newline=""), format_, mapping)
        done = await import_users(self.database, rows, wishes, rejects=rejects)
        self.rejected = rejects.first
        return done

    async def take_batches(self, text: str, batch_rows: int, wishes: Wishes = ALLOWING, **more) -> Imported:
        rejects = more.pop("rejects", None) or Rejects(None, "csv")
        rows = more.pop("rows", None) or read_rows(io.StringIO(text, newline=""), "csv", {})
        return await import_in_batches(
            self.database,
            rows,
            wishes,
            fingerprint=more.pop("fingerprint", "f" * 64),
            batch_rows=batch_rows,
            rejects=rejects,
        )

    async def give(self, *fields: str, format_="csv") -> str:
        stream = io.StringIO(newline="")
        export = Export(fields) if fields else Export(("username", "email", "full_name", "is_active"))
        async with self.database.session() as session:
            await export.write(session, stream, format_)
        return stream.getvalue()

    async def names(self) -> list[str]:
        return (await self.give("username")).splitlines()[1:]


@pytest.fixture
def transfer(database: Database) -> Transfer:
    return Transfer(database)
