"""The safe form of what one run of autogenerate found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from alembic.operations.ops import DowngradeOps, MigrationScript, OpContainer, UpgradeOps
from alembic.runtime.migration import MigrationContext

from dbctl.migrate.safe.changes import constraint_place, read_changes
from dbctl.migrate.safe.expand import expand
from dbctl.migrate.safe.facts import Facts, TableKey, read_facts
from dbctl.migrate.safe.parts import Group, Part, Phase, group_parts
from dbctl.migrate.safe.scene import make_scene
from dbctl.migrate.safe.scripts import chain


class SafeForm:
    """Learns what it needs while env.py has a connection, and rewrites when all databases had their turn.

    Comes after a project's own ``process_revision_directives``, which sees what autogenerate found.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[MigrationContext, Facts]] = {}

    def look(self, context: MigrationContext, scripts: Iterable[MigrationScript]) -> None:
        """Read what the tables are in the database that autogenerate has just compared."""
        connection = context.connection
        if connection is None or context.dialect.name != "postgresql":
            return
        token = context.opts["upgrade_token"]
        tables = {
            place
            for script in scripts
            for body in script.upgrade_ops_list
            if body.upgrade_token == token
            for place in _tables(body)
        }
        self._seen[token] = context, read_facts(connection, tables)

    def rewrite(
        self, scripts: Iterable[MigrationScript], known: Collection[str], slug_length: int
    ) -> list[MigrationScript]:
        """The scripts, each split into as many as it takes. ``known`` and ``slug_length`` are as for `chain`."""
        written: list[MigrationScript] = []
        taken = set(known)
        moved: dict[str, str] = {}
        for script in scripts:
            first = script.rev_id
            # A project's hook may have made several, each on the one before.
            if isinstance(script.head, str):
                script.head = moved.get(script.head, script.head)
            split = list(chain(script, self._groups(script), taken, slug_length))
            written += split
            taken |= {one.rev_id for one in split if one.rev_id}
            if first and split[-1].rev_id:
                moved[first] = split[-1].rev_id
        return written

    def _groups(self, script: MigrationScript) -> list[list[Group]]:
        """The revisions that each database's changes need."""
        bodies = zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True)
        return [self._split(upgrade, downgrade) for upgrade, downgrade in bodies]

    def _split(self, upgrade: UpgradeOps, downgrade: DowngradeOps) -> list[Group]:
        seen = self._seen.get(upgrade.upgrade_token) or next(iter(self._seen.values()), None)
        changes = read_changes(upgrade, downgrade)
        if seen is None or not changes:
            whole = Part(Phase.PLAIN, tuple(upgrade.ops), tuple(downgrade.ops))
            return group_parts([whole] if upgrade.ops or downgrade.ops else [])
        context, facts = seen
        return group_parts(expand(changes, make_scene(facts, context.impl, changes)))


def _tables(container: OpContainer) -> Iterator[TableKey]:
    """The tables that operations are about, where they say it in Alembic's way."""
    for operation in container.ops:
        if isinstance(operation, OpContainer):
            yield from _tables(operation)
        elif hasattr(operation, "table_name") or hasattr(operation, "source_table"):
            yield constraint_place(operation)
