"""A proof restores the backup and compares it: rows, values, large objects, the whole catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import text

from dbctl.backup.archive import Archive
from dbctl.backup.catalog import compare_marks, read_marks
from dbctl.backup.connections import patient
from dbctl.backup.model import Backup, Request, Selection, SequenceSpan, Status, TableRows, Verified
from dbctl.backup.proof import prove_backup
from dbctl.backup.sequences import _SEQUENCES, _read, read_sequences, spans_of
from dbctl.backup.verify import verify_and_note
from dbctl.database import ConnInfo
from dbctl.errors import Busy, Refused
from tests.backup.conftest import VARIETY, Room, room_on
from tests.fixtures.database import execute, made_database

RICH = (
    "CREATE EXTENSION pg_trgm",
    "CREATE TYPE mood AS ENUM ('low', 'high')",
    "CREATE DOMAIN share AS numeric CHECK (VALUE BETWEEN 0 AND 1)",
    "CREATE TYPE pair AS (a int, b timestamptz)",
    """CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood, moods mood[], part share,
                          pair pair, doc json, xdoc jsonb, at timestamptz, place point, "t" text, gone int,
                          state varchar(9) CHECK (state IN ('new', 'old')), range int4range, bits bit(3))""",
    """INSERT INTO odd (mood, moods, part, pair, doc, xdoc, at, place, t, state, range, bits) VALUES
         ('low', '{high,low}', 0.25, (1, now()), '{"a": 1}', '{"a": [1, null]}', now(), '(1,2)', 'täxt', 'new', '[1,5)', '101'),
         (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
         (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL)""",
    "ALTER TABLE odd DROP COLUMN gone",
    "CREATE TABLE child () INHERITS (plain)",
    "INSERT INTO child (id) VALUES (7)",
    "CREATE TABLE empty ()",
    "INSERT INTO empty DEFAULT VALUES",
    "CREATE VIEW shown WITH (security_barrier) AS SELECT id, state::text AS s FROM odd WHERE state IN ('new', 'old')",
    "CREATE INDEX ix_odd ON odd USING gin (t gin_trgm_ops) WHERE state <> 'old'",
    "ALTER TABLE plain ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON plain FOR SELECT USING (id > 0)",
    "CREATE FUNCTION f(i int DEFAULT 3) RETURNS int LANGUAGE sql AS 'SELECT i'",
    "CREATE TRIGGER t BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "COMMENT ON COLUMN odd.t IS 'it''s \\ odd'",
    "GRANT SELECT (id) ON odd TO pg_monitor WITH GRANT OPTION",
    "CREATE PUBLICATION pub FOR TABLE plain, odd",
    "CREATE STATISTICS st ON id, t FROM odd",
    "CREATE MATERIALIZED VIEW unseen AS SELECT 1 AS one WITH NO DATA",
    "ALTER DATABASE {database} SET work_mem = '7MB'",
)


async def prove(room: Room, backup: Backup) -> Verified:
    found = next(one for one in room.folder.backups() if one.id == backup.id)
    return await prove_backup(room.folder, Archive(found, room.keyring), room.target.settings)


async def test_everything_is_restored_and_compared_and_the_result_stays_with_the_backup(room: Room):
    room.execute(*(one.replace("{database}", room.conninfo.database) for one in (*RICH[:4], *RICH[4:])))
    made = await room.backup(request=Request(digests=True))
    proven = await prove(room, made)
    assert (proven.good, proven.problem) == (True, "")
    assert (
        proven.compared
        == "every byte, the rows of each table and their values, the sequences and the catalog"
    )
    (found,) = room.folder.backups()
    assert found.proven_at
    assert found.proof
    assert found.proof.good


async def test_a_sequence_stands_between_what_it_gave_before_and_after_the_dump(room: Room):
    """No snapshot holds sequences: of one that goes on meanwhile only the bounds are known, of one that goes back nothing."""
    room.execute(
        'CREATE SEQUENCE "at:rest" START 7',
        "CREATE SEQUENCE down INCREMENT -5 MAXVALUE 100 START 100",
        "SELECT nextval('down')",
        "CREATE SEQUENCE last MAXVALUE 9223372036854775807",
        "SELECT setval('last', 9223372036854775807)",
        "CREATE SEQUENCE busy",
        "CREATE SEQUENCE back START 50",
    )
    async with patient(room.target) as database:
        before = await read_sequences(database, 1)
        room.execute(
            "SELECT nextval('busy') FROM generate_series(1, 9)",
            "SELECT setval('back', 3)",
            "SELECT nextval('down')",
        )
        spans = {
            one.name: (one.least, one.most) for one in spans_of(before, await read_sequences(database, 1))
        }
    assert spans == {"at:rest": (7, 7), "down": (90, 95), "last": (2**63, 2**63), "busy": (1, 10)}
    room.execute("SELECT setval('back', 60)")
    made = await room.backup()
    assert made.manifest
    assert len(made.manifest.facts.sequences) == 5
    assert (await prove(room, made)).good


async def test_a_sequence_that_is_locked_is_not_waited_for_without_end_and_one_just_dropped_is_no_failure(
    room: Room,
):
    room.execute("CREATE SEQUENCE locked", "CREATE SEQUENCE free")
    async with patient(room.target) as database:
        with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
            cursor.execute("DROP SEQUENCE locked")
            with pytest.raises(Busy):
                await read_sequences(database, 0.1)
        assert len(await read_sequences(database, 0.1)) == 2
        room.execute("ALTER SEQUENCE locked RENAME TO odd")
        async with database.session() as session:
            listed = (await session.execute(text(_SEQUENCES))).all()
        room.execute("DROP SEQUENCE odd")
        assert await _read(database, listed, 1) == {}


@pytest.mark.parametrize("major", [15, 18])
async def test_other_majors_prove_theirs(versions: Callable[[int], ConnInfo], tmp_path, major: int):
    with made_database(versions(major)) as conninfo:
        execute(conninfo, *VARIETY, *(one.replace("{database}", conninfo.database) for one in RICH))
        room = room_on(conninfo, tmp_path)
        made = await room.backup(request=Request(digests=True))
        assert (await prove(room, made)).problem == ""


async def test_a_value_a_row_a_thing_that_differs_is_found_and_the_backup_counts_no_longer(
    room: Room, reseal: Callable[..., Backup]
):
    room.execute("CREATE SEQUENCE counted START 11")
    made = await room.backup(request=Request(digests=True))
    assert made.manifest
    facts, large = made.manifest.facts, made.manifest.facts.large_objects
    assert large
    first, *others = facts.tables
    changes = {
        "other values": replace(facts, tables=(replace(first, digest="1"), *others)),
        "2 in the manifest, 1 restored": replace(facts, tables=(replace(first, rows=2), *others)),
        "1 in the manifest, no table restored": replace(
            facts, tables=(*facts.tables, TableRows("public", "lost", 1, "0"))
        ),
        "sequence public.counted: 8 was to come next, 11 restored": replace(
            facts, sequences=(SequenceSpan("public", "counted", 8, 8),)
        ),
        "sequence public.lost: not restored": replace(
            facts, sequences=(SequenceSpan("public", "lost", 1, 1),)
        ),
        "large objects: 2": replace(facts, large_objects=replace(large, count=2)),
        "large objects: other bytes": replace(facts, large_objects=replace(large, digest="1")),
    }
    for problem, changed in changes.items():
        altered = reseal(room, made, facts=changed)
        assert problem in (await prove(room, altered)).problem
    (found,) = room.folder.backups()
    assert found.status is Status.FAILED
    assert not found.counts
    # Bytes alone do not make it good again.
    assert not (await verify_and_note(room.folder, found)).good
    assert (await prove(room, reseal(room, found, facts=facts))).good
    assert room.folder.backups()[0].proven_at


async def test_the_catalog_tells_what_came_went_and_changed(room: Room):
    async def marks():
        async with room.target.open() as database, database.session() as session:
            return await (await session.connection()).run_sync(read_marks)

    before = await marks()
    room.execute(
        "ALTER TABLE plain ALTER id SET DEFAULT 7", "DROP MATERIALIZED VIEW seen", "CREATE TABLE later ()"
    )
    missing, changed, more = compare_marks(before, await marks())
    assert "materialized view public.seen" in missing
    assert "column public.plain.id" in changed
    assert "table public.later" in more


async def test_an_archive_that_does_not_restore_is_found(room: Room, reseal: Callable[..., Backup]):
    room.execute(
        "CREATE FUNCTION unlucky(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_database() = 'proof' THEN RAISE 'no luck'; END IF; RETURN i; END $$",
        "CREATE INDEX ON plain (public.unlucky(id))",
    )
    made = await room.backup()
    found = await prove(room, made)
    assert "no luck" in found.problem
    assert room.folder.backups()[0].status is Status.FAILED


async def test_a_hostile_archive_reaches_neither_files_nor_the_network(room: Room, tmp_path):
    target = tmp_path / "owned"
    room.execute(
        "CREATE TABLE loot (line text)",
        f"""CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
          IF current_database() <> 'proof' THEN RETURN 0; END IF;
          COPY public.loot FROM PROGRAM 'touch {target}; cat /etc/shadow; grep -cv -e lo: -e "|" /proc/net/dev; true';
          IF EXISTS (SELECT FROM public.loot WHERE line LIKE 'root:%') THEN RAISE 'read a secret'; END IF;
          IF NOT EXISTS (SELECT FROM public.loot WHERE line = '0') THEN RAISE 'there is a network'; END IF;
          DELETE FROM public.loot;
          RETURN 0; END $$""",
        "CREATE MATERIALIZED VIEW runs AS SELECT public.evil()",
    )
    tmp_path.chmod(0o700)
    found = await prove(room, await room.backup())
    assert found.problem == ""
    assert not target.exists()


async def test_what_this_machine_can_t_tell_is_refused_and_marks_nothing(
    room: Room, reseal: Callable[..., Backup]
):
    from dbctl.backup.model import Extension

    made = await room.backup()
    assert made.manifest
    facts = replace(made.manifest.facts, extensions=(Extension("nowhere_to_be_found", "1"),))
    with pytest.raises(Refused, match="nowhere_to_be_found"):
        await prove(room, reseal(room, made, facts=facts))
    assert room.folder.backups()[0].status is Status.GOOD
    partial = await room.backup(request=Request(Selection(tables=("plain",))))
    with pytest.raises(Refused, match="partial"):
        await prove(room, partial)


async def test_a_cancelled_proof_leaves_no_server_and_no_record(room: Room):
    room.execute(
        "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_database() = 'proof' THEN PERFORM pg_sleep(60); END IF; RETURN i; END $$",
        "CREATE INDEX ON plain (public.slow(id))",
    )
    made = await room.backup()
    before = guardians()
    task = asyncio.create_task(prove(room, made))
    while guardians() == before:
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guardians() == before
    assert room.folder.backups()[0].proof is None


def guardians() -> set[str]:
    """The guardians of scratch servers that this process started (/proc)."""
    import os
    from contextlib import suppress
    from pathlib import Path

    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if b"guardian.py" in (process / "cmdline").read_bytes() and parent == str(os.getpid()):
                found.add(process.name)
    return found
