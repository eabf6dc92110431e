"""``dbctl indexes``: what is wrong with them, and how to mend it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dbctl.cli.command import Invocation, leaf


class Which(StrEnum):
    """The kinds of findings, by the names that the room has for them."""

    ALL = "all"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    REDUNDANT = "redundant"
    UNUSED = "unused"
    MISSING_FK = "missing-fk"
    MISSING = "missing"


async def indexes(
    run: Invocation,
    kinds: Annotated[
        list[Which] | None, typer.Argument(metavar="[KIND]…", help="all, or some of the kinds above.")
    ] = None,
    *,
    unused_for: Annotated[
        str, typer.Option("--unused-for", metavar="TIME", help="How long nobody has used an unused one.")
    ] = "30d",
    alembic: Annotated[
        bool, typer.Option("--alembic", help="Show the mending as Alembic operations, not as SQL.")
    ] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Exit code 1 if something is found.")] = False,
) -> None:
    """Find indexes that are wrong or lacking, and show what mends them. Changes nothing, and waits for no lock.

    invalid: a failed build left it. duplicate, redundant: another one does its work. unused: nobody reads it.
    missing-fk: no index finds the rows that refer to another table. missing: the workload reads large tables in full.

    Example: dbctl indexes duplicate redundant --alembic
    """
    from dbctl.cli.activity import show_indexes
    from dbctl.cli.storage import seconds_of

    chosen = [one.value for one in kinds or (Which.ALL,)]
    await show_indexes(run, chosen, seconds_of("--unused-for", unused_for, 0), as_alembic=alembic, fail=fail)


app = leaf(indexes, emits="list")
