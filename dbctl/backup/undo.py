"""Takes a restore back: the database that it replaced gets its name again, and nothing is dropped."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from dbctl.backup.connections import find_maintenance, only_restore, patient, psql_command
from dbctl.backup.naming import is_side_name, new_id, side_name
from dbctl.backup.restore_model import Undone
from dbctl.backup.server_checks import check_occupants
from dbctl.backup.swap import KEPT, UNDONE, go_live
from dbctl.database import Target
from dbctl.errors import NotFound, Refused
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.tasks import surely

_DATABASES = "SELECT datname FROM pg_database"


async def find_kept(target: Target, wanted: str | None = None) -> str:
    """The database that the last restore put aside, or the one so called (pg_database). Raises NotFound."""
    name = target.conninfo.database
    maintenance = await find_maintenance(target)
    async with patient(maintenance) as database, database.connect() as connection:
        there = set(await connection.scalars(text(_DATABASES)))
    kept: list[str] = sorted(one for one in there if is_side_name(one, name, KEPT))
    aside = sorted(one for one in there if is_side_name(one, name, UNDONE))
    if wanted is None and kept:
        return kept[-1]
    if wanted in {*kept, *aside}:
        return str(wanted)
    known = ", ".join([*kept, *aside])
    raise NotFound(
        f"no database {wanted!r} was put aside for {name!r}"
        if wanted
        else f"no restore put a database aside for {name!r}",
        why=f"there is {known}" if known else "",
        hint="give one of these as the argument" if known else "",
    )


async def undo_restore(target: Target, kept: str) -> Undone:
    """Let ``kept`` have the target's name again; what has it goes aside. Both or, on any failure, neither.

    Owner, grants and settings stay with each database. Raises Refused, Busy, NotFound.
    """
    name = target.conninfo.database
    maintenance = await find_maintenance(target)
    async with only_restore(maintenance, name):
        aside = side_name(name, UNDONE, new_id(datetime.now(UTC)))
        async with patient(maintenance) as database, database.connect() as connection:
            there = name in set(await connection.scalars(text(_DATABASES)))
            missing = await check_occupants(connection, name)
        if missing:
            raise Refused(
                f"{kept!r} can't take the name {name!r}",
                why="; ".join(one.what for one in missing),
                hint="; ".join(one.mend for one in missing),
            )
        await surely(go_live(maintenance, kept, name, aside if there else None))
    drop = psql_command(maintenance, f"DROP DATABASE {quote_identifier(aside)}") if there else ""
    return Undone(maintenance.environment, name, kept, aside if there else "", drop)
