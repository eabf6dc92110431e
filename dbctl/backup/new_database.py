"""The database in the making: known by its name, and dropped unless all goes well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from dbctl.backup.connections import patient, run_ddl
from dbctl.backup.model import Locale
from dbctl.backup.naming import is_side_name, side_name
from dbctl.database import Target
from dbctl.database.errors import sqlstate
from dbctl.errors import DbctlError, Failed
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.tasks import surely

_ROLE = "restore"
_NO_SUCH_LOCALE = {"22023", "42704", "42809"}
_PROVIDERS_SINCE = 15


def name_in_the_making(final: str, run_id: str) -> str:
    """What a database is called until it takes the name ``final``; nothing else is ever called so."""
    return side_name(final, _ROLE, run_id)


async def drop_leftovers(maintenance: Target, final: str) -> tuple[str, ...]:
    """Drop what killed restores of ``final`` left; the caller holds the lock of these."""
    async with patient(maintenance) as database:
        async with database.connect() as connection:
            names = await connection.scalars(text("SELECT datname FROM pg_database"))
        left = tuple(name for name in names if is_side_name(name, final, _ROLE))
        await run_ddl(database, *(_drop(name) for name in left))
    return left


@asynccontextmanager
async def new_database(
    maintenance: Target, name: str, locale: Locale, major: int
) -> AsyncIterator[tuple[str, ...]]:
    """An empty database, dropped if the block fails or is cancelled; gives notes on what differs."""
    try:
        # Cancelled midway, CREATE DATABASE could outlive our clean-up.
        yield await surely(_create(maintenance, name, locale, major))
    except BaseException as error:
        await surely(_undo(maintenance, name, error))
        raise


@asynccontextmanager
async def scrap_database(maintenance: Target, name: str, locale: Locale, major: int) -> AsyncIterator[None]:
    """An empty database that is dropped at the block's end, however it ends."""
    async with new_database(maintenance, name, locale, major):
        yield
    async with patient(maintenance) as database:
        await surely(run_ddl(database, _drop(name)))


def literal(value: str) -> str:
    """The value as SQL, for statements that take no parameters."""
    if "\\" in value:
        return " E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + value.replace("'", "''") + "'"


async def _create(maintenance: Target, name: str, locale: Locale, major: int) -> tuple[str, ...]:
    create = (
        f"CREATE DATABASE {quote_identifier(name)} TEMPLATE template0 ENCODING {literal(locale.encoding)}"
    )
    async with patient(maintenance) as database:
        try:
            await run_ddl(database, create + _locale_clause(locale, major))
        except DbctlError as error:
            # A locale of another machine: the server's own sorts otherwise, but holds the same data.
            if sqlstate(error) not in _NO_SUCH_LOCALE:
                raise
            await run_ddl(database, create)
            missing = locale.name or locale.collate
            return (f"the server has no locale {missing}: its own is used, the order of text may differ",)
    return ()


def _locale_clause(locale: Locale, major: int) -> str:
    clause = f" LC_COLLATE {literal(locale.collate)} LC_CTYPE {literal(locale.ctype)}"
    providers = {"c": "libc", "i": "icu", "b": "builtin"}
    if major < _PROVIDERS_SINCE or locale.provider not in providers:
        return clause
    clause += f" LOCALE_PROVIDER {providers[locale.provider]}"
    options = {"i": "ICU_LOCALE", "b": "BUILTIN_LOCALE"}
    if locale.name and locale.provider in options:
        clause += f" {options[locale.provider]} {literal(locale.name)}"
    return clause


async def _undo(maintenance: Target, name: str, cause: BaseException) -> None:
    try:
        async with patient(maintenance) as database:
            await run_ddl(database, _drop(name))
    except DbctlError as error:
        raise Failed(
            f"the restore ended early, and its database {name!r} could not be dropped",
            why=f"{str(cause) or 'interrupted'}; {error}",
            hint="the next restore drops it",
        ) from cause


def _drop(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)"
