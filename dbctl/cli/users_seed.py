"""The steps of ``dbctl users seed``."""

from __future__ import annotations

from dbctl.cli.command import Invocation
from dbctl.cli.output.views import users as view
from dbctl.errors import Refused
from dbctl.users.model import TakenBack
from dbctl.users.rules import UNUSABLE
from dbctl.users.seed import Wish, seed_in_steps, take_back


async def add_users(
    run: Invocation, count: int, seed: int, locale: str, tag: str, *, with_password: bool
) -> None:
    """Make them up and add them."""
    wish = Wish(seed, locale, tag, await _shared_hash(run) if with_password else UNUSABLE)
    with run.progress("Seeding", total=count, unit="rows") as progress:
        async with run.database(
            write=f"adds {count} made-up users", direct=False, statement_timeout=0, command_timeout=0
        ) as database:
            done = await seed_in_steps(database, count, wish, progress=progress)
    run.emit(done, view.seeded, always=True)


async def delete_seeded(run: Invocation, tag: str) -> None:
    """Take them back, once the tag is typed."""
    async with run.database(
        write=f"deletes the made-up users of {tag}", direct=False, statement_timeout=0, command_timeout=0
    ) as database:
        run.ask_name(tag, f"deletes all users that were made up under {tag}")
        async with database.session() as session:
            rows = await take_back(session, tag)
    run.emit(TakenBack(rows, tag), view.taken_back)


async def _shared_hash(run: Invocation) -> str:
    """The hash of one password for all. Raises Refused where real people sign in."""
    from dbctl.users.passwords import Passwords

    if run.loaded.settings.protected:
        raise Refused(
            "made-up users get no password here",
            why=f"environment {run.loaded.environment} is protected: whoever knows it could sign in",
            hint="leave out --password-stdin",
        )
    passwords = Passwords.of(run.loaded.settings.passwords)
    return await passwords.hash(passwords.check(run.read_secret("Password"), username="", email=""))
