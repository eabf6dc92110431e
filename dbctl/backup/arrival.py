"""What was restored, compared with what the manifest says was dumped: before it takes anybody's name."""

from __future__ import annotations

from dbctl.backup import catalog
from dbctl.backup.archive import Archive
from dbctl.backup.compare import compare_rows, compare_standings
from dbctl.backup.connections import patient
from dbctl.backup.preflight import Preflight
from dbctl.backup.restore_model import RestoreOptions
from dbctl.database import Target
from dbctl.errors import Failed


async def compare_arrival(
    fresh: Target, archive: Archive, ready: Preflight, options: RestoreOptions
) -> tuple[str, ...]:
    """Raise Failed where tables, rows, values, large objects or sequences differ; notes on a catalog that does.

    A catalog is no reason to leave a database unrestored at night: another version of an extension says
    some things in other words. Rows are.
    """
    manifest = archive.manifest
    async with patient(fresh) as database, database.session() as session:
        problems = await compare_rows(session, manifest.facts, ready.server_major)
        if problems := (*problems, *await compare_standings(database, manifest.facts)):
            raise Failed(
                "the restored rows are not those of the backup",
                why="; ".join(problems),
                hint="nothing was replaced",
            )
        expected = archive.read(catalog.MEMBER_NAME)
        same_words = ready.server_major == int(manifest.server_version.partition(".")[0]) and options.owners
        if expected is None or not same_words:
            return ()
        marks = await (await session.connection()).run_sync(catalog.read_marks)
        found = catalog.compare_marks(catalog.parse_marks(expected), marks)
    return tuple(f"catalog: {one}" for one in found)
