"""``dbctl users seed``, ``import`` and ``export``: users by the thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.options import FileFormat, OnConflict
from dbctl.cli.users_group import Active, CreatedSince, EmailDomain, Primary, Superuser, chosen, group
from dbctl.errors import UsageError


@group.command("seed", emits="report", writes=True)
async def seed_(
    run: Invocation,
    count: Annotated[
        int | None, typer.Argument(help="How many users to make up.", min=1, max=10_000_000)
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="The same number gives the same users in an empty table.")] = 42,
    locale: Annotated[str, typer.Option(help="Whose names: mixed, de, en, es, fr, ja.")] = "mixed",
    tag: Annotated[
        str, typer.Option(help="A name for them: the same command goes on with it after a stop.")
    ] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="All get the password on stdin's first line; else none.")
    ] = False,
    undo: Annotated[str, typer.Option(metavar="TAG", help="Delete what was added under this tag.")] = "",
) -> None:
    """Add made-up users, for development and tests.

    Each run adds others. None can sign in unless --password-stdin gives them a password, which a protected
    environment refuses. An empty table is locked and filled before its indexes are built.

    Example: dbctl users seed 1000 --locale fr --tag demo
    """
    from dbctl.cli.users_seed import add_users, delete_seeded

    if (count is None) == (not undo):
        raise UsageError("give either how many users to add, or --undo TAG")
    if count is None:
        await delete_seeded(run, undo)
    else:
        await add_users(run, count, seed, locale, tag, with_password=password_stdin)


@group.command("import", emits="report", writes=True)
async def import_(
    run: Invocation,
    file: Annotated[Path, typer.Argument(help="CSV or NDJSON, plain, gzip or zstd; - is stdin.")],
    *,
    file_format: Annotated[
        FileFormat | None, typer.Option(help="What is in it, where its name does not say.")
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="HEADER=FIELD", help="Whose field a column is; - leaves it out."),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Such as latin-1.")] = "utf-8",
    on_conflict: Annotated[
        OnConflict, typer.Option(help="What becomes of users that are there already.")
    ] = OnConflict.ERROR,
    rejects: Annotated[
        Path | None, typer.Option(help="Rows that break a rule go there; the others are imported.")
    ] = None,
    batch: Annotated[
        int,
        typer.Option(
            metavar="ROWS", help="Commit after so many; the same command goes on after a stop.", min=0
        ),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try all of it and change nothing.")] = False,
) -> None:
    """Import users from a file, in one transaction: all of them or none.

    The first line names the fields: username, email, full_name, is_active, is_superuser, created_at, updated_at,
    password (plain, to be hashed) or hashed_password. What is empty takes the default or, with --on-conflict update,
    stays. Exit code 1 if rows were rejected; without --rejects one is enough to import nothing, with --batch nothing more.

    Example: dbctl users import people.csv.zst --map "E-Mail=email" --rejects bad.csv --batch 50000
    """
    from dbctl.cli.users_transfer import Source, Wishes, import_file
    from dbctl.users.passwords import Passwords

    if dry_run and batch:
        raise UsageError("--dry-run tries all rows in one transaction", hint="leave out --batch")
    source = Source(file, file_format.value if file_format else None, tuple(headers or ()), encoding)
    passwords = Passwords.of(run.loaded.settings.passwords)
    wishes = Wishes(on_conflict.value, dry_run=dry_run, all_or_nothing=rejects is None, passwords=passwords)
    await import_file(run, source, wishes, rejects, batch)


@group.command("export")
async def export_(
    run: Invocation,
    file: Annotated[Path, typer.Argument(help="Packed if it ends in .gz or .zst; - is stdout.")] = Path("-"),
    *,
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="What to write, where its name does not say.")
    ] = None,
    fields: Annotated[str, typer.Option(metavar="A,B,…", help="These alone, in this order.")] = "",
    with_hashes: Annotated[
        bool, typer.Option("--with-hashes", help="The passwords' hashes, too: a secret.")
    ] = False,
    active: Active = None,
    superuser: Superuser = None,
    created_since: CreatedSince = None,
    email_domain: EmailDomain = None,
    primary: Primary = False,
) -> None:
    """Write all users to a file, by id; `dbctl users import` takes it back, but for the ids.

    A name may begin with = + - or @, which a spreadsheet takes for a formula: open it there as text.

    Example: dbctl users export users.csv.zst --active
    """
    from dbctl.cli.users_transfer import Export, checked_fields, export_file

    names = checked_fields([name for name in fields.split(",") if name], with_hashes=with_hashes)
    export = Export(names, chosen(active, superuser, created_since, email_domain))
    await export_file(run, file, format_.value if format_ else None, export, primary=primary)
