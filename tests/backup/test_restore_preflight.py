"""What a restore would stumble over is found before it begins: all of it at once, with what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from dbctl.backup.model import Backup, Extension
from dbctl.backup.needs import Needs, _Lines
from dbctl.database import ConnInfo
from dbctl.errors import Refused
from tests.backup.conftest import Room, room_on


@pytest.fixture
def limited(room: Room) -> Iterator[Room]:
    """The same database under a role that may do nothing but log in."""
    name = f"limited_{room.conninfo.database}"
    room.execute(f"CREATE ROLE {name} LOGIN")
    yield replace(
        room_on(ConnInfo({**room.conninfo.keywords, "user": name}), room.folder.path.parent),
        folder=room.folder,
    )
    room.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_all_that_is_missing_is_told_at_once_with_what_mends_it(
    room: Room, limited: Room, reseal: Callable[..., Backup]
):
    owner, space = f"owner {room.conninfo.database}", f"space_{room.conninfo.database}"
    room.execute(f'CREATE ROLE "{owner}"', f'ALTER TABLE plain OWNER TO "{owner}"')
    with closing(psycopg2.connect(**room.conninfo.keywords)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute(f"CREATE TABLESPACE {space} LOCATION ''")
        cursor.execute(f"ALTER TABLE measured_2025 SET TABLESPACE {space}")
        made = await room.backup()
        cursor.execute("ALTER TABLE measured_2025 SET TABLESPACE pg_default")
        cursor.execute(f"DROP TABLESPACE {space}")
        cursor.execute(f'REASSIGN OWNED BY "{owner}" TO postgres; DROP ROLE "{owner}"')
        assert made.manifest
        unheard = Extension("unheard_of", "1")
        made = reseal(
            room,
            made,
            server_version="99.1",
            facts=replace(made.manifest.facts, extensions=(unheard,), collations=("xx_YY.utf8", "ucs_basic")),
        )
        with pytest.raises(Refused) as caught:
            await limited.restore(made)
        session = connection.info.backend_pid
    me = limited.conninfo.role
    for part in (
        "PostgreSQL 99.1",
        "CREATEDB",
        "does not own the database",
        f"no role {owner}",
        "may give nothing to postgres",
        "no extension unheard_of",
        "no collation xx_YY.utf8",
        f"no tablespace {space}",
        f"session {session} of postgres is in the database",
    ):
        assert part in caught.value.why
    for mend in (
        f'ALTER ROLE "{me}" CREATEDB',
        "add --no-owner, or connect as a member of postgres",
        f'CREATE ROLE "{owner}"',
        f'CREATE TABLESPACE "{space}"',
        "--no-tablespaces",
        f"pg_terminate_backend({session})",
        "pg_import_system_collations",
    ):
        assert mend in caught.value.hint
    assert room.databases() == {room.conninfo.database}


async def test_a_disk_that_is_too_small_is_known_before_it_is_full(room: Room, reseal: Callable[..., Backup]):
    made = await room.backup()
    assert made.manifest
    made = reseal(room, made, facts=replace(made.manifest.facts, size_bytes=1 << 60))
    with pytest.raises(Refused, match="MiB free"):
        await room.restore(made)
    assert room.databases() == {room.conninfo.database}
    assert (await room.restore(made, room=False)).kept


async def test_a_missing_key_is_told_with_all_the_rest(room: Room, reseal: Callable[..., Backup]):
    from pyrage import x25519

    room.execute('ALTER TABLE measured ADD COLUMN place text COLLATE "ucs_basic"')
    made = await room.backup(encrypt_to=(str(x25519.Identity.generate().to_public()),))
    assert made.manifest
    assert made.manifest.facts.collations == ("ucs_basic",)
    made = reseal(room, made, facts=replace(made.manifest.facts, extensions=(Extension("unheard_of", "1"),)))
    with pytest.raises(Refused, match=r"encrypted: no private key.*no extension unheard_of") as caught:
        await room.restore(made)
    assert "backup.identity" in caught.value.hint


async def test_an_extension_of_another_version_is_noted(room: Room, reseal: Callable[..., Backup]):
    made = await room.backup()
    assert made.manifest
    plpgsql = replace(made.manifest.facts, extensions=(Extension("plpgsql", "0.9"),))
    done = await room.restore(reseal(room, made, facts=plpgsql))
    assert "extension plpgsql comes in version 1.0, the backup had 0.9" in done.notes


def test_names_are_found_however_the_sql_is_cut_in_pieces():
    sql = (
        b"SET default_tablespace = '';\n"
        b'SET default_tablespace = "my ""space""";\n'
        b"ALTER TABLE public.a OWNER TO ada;\n"
        b"SELECT 'ALTER TABLE x OWNER TO nobody;';\n"
        b'ALTER FUNCTION f(a text) OWNER TO "Ada L";\n'
    )
    for size in (1, 7, len(sql)):
        lines = _Lines()
        for start in range(0, len(sql), size):
            lines(sql[start : start + size])
        assert lines.needs() == Needs(("Ada L", "ada"), ('my "space"',))
