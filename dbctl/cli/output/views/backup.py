"""Backups and restores, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from dbctl.backup.model import Backup, Manifest, Proof, Status, Summary, Verified
from dbctl.backup.restore_model import Restored, TablesBack, Undone
from dbctl.cli.output.blocks import Block, Cell, Lines, Style, Table

_STYLES: dict[Status, Style] = {
    Status.GOOD: "good",
    Status.MISSING: "bad",
    Status.DAMAGED: "bad",
    Status.UNREADABLE: "bad",
    Status.FAILED: "bad",
}
_STEP = 1024


def created(backup: Backup) -> Iterator[Block]:
    """The id alone: what a script goes on with."""
    yield Lines([backup.id])


def sentence(backup: Backup) -> str:
    """A new backup in a line for the person who waits for it."""
    known = backup.manifest
    if known is None:
        return f"backup {backup.id}"
    size, rows = size_text(known.size_bytes), sum(table.rows for table in known.facts.tables)
    what = f"{_counted(len(known.facts.tables), 'table')}, {_counted(rows, 'row')}"
    return f"backed up {known.database}: {what}, {size} ({known.compression}) in {known.duration_seconds:.1f} s, {backup.path}"


def backups(listed: Sequence[Summary]) -> Iterator[Block]:
    """One row a backup, the newest first."""
    headings = ("id", "status", "environment", "database", "created", "size", "problem")
    rows: list[list[str | Cell]] = [
        [
            one.id,
            Cell(_state(one), style=_STYLES[one.status]),
            one.environment or "",
            one.database or "",
            _moment(one.created_at),
            "" if one.size_bytes is None else size_text(one.size_bytes),
            one.problem,
        ]
        for one in listed
    ]
    yield beside_targets(Table(headings, rows, right=("size",)), [one.path for one in listed])


def beside_targets(table: Table, paths: Sequence[str]) -> Table:
    """The same with a last column that says where each backup is, if that is not the same for all."""
    places = [path.rpartition("/")[0] for path in paths]
    if len(set(places)) < 2:  # noqa: PLR2004 - several
        return table
    rows = [[*row, place] for row, place in zip(table.rows, places, strict=True)]
    return Table((*table.headings, "target"), rows, right=table.right)


def _state(one: Summary) -> str:
    """A good one may be more than that, or less."""
    if one.status is Status.GOOD and one.partial:
        return "partial"
    return "proven" if one.status is Status.GOOD and one.proven_at else one.status


def details(backup: Backup) -> Iterator[Block]:
    """The manifest, one line a field, then its tables."""
    rows: list[list[str | Cell]] = [
        ["id", backup.id],
        ["status", Cell(f"{backup.status} {backup.problem}".strip(), style=_STYLES[backup.status])],
        ["path", str(backup.path)],
    ]
    if backup.manifest is None:
        yield Table(("field", "value"), rows)
        return
    yield Table(("field", "value"), [*rows, *_fields(backup.manifest), *_proof(backup.proof)])
    tables = [[one.schema, one.name, str(one.rows)] for one in backup.manifest.facts.tables]
    yield Table(("schema", "table", "rows"), tables, right=("rows",))


def verified(results: Sequence[Verified]) -> Iterator[Block]:
    """One row a backup: good, or what is wrong with it."""
    rows: list[list[str | Cell]] = [
        [
            one.id,
            Cell("good", style="good") if one.good else Cell("bad", style="bad"),
            size_text(one.size_bytes),
            one.compared,
            one.problem,
        ]
        for one in results
    ]
    table = Table(("id", "result", "read", "compared", "problem"), rows, right=("read",))
    yield beside_targets(table, [one.path for one in results])
    yield Lines([Cell(f"note: {note}", style="warning") for one in results for note in one.notes])


def bad(results: Sequence[Verified]) -> str:
    """Which are not good, and why."""
    return "; ".join(f"backup {one.path} is not good: {one.problem}" for one in results if not one.good)


def restored(done: Restored) -> Iterator[Block]:
    """What is where now, and the commands to go on with."""
    what = f"{_counted(done.tables, 'table')}, {_counted(done.rows, 'row')}, in {done.duration_seconds:.1f} s"
    yield Lines([Cell(f"restored {done.backup_id} as database {done.database}: {what}", style="good")])
    if done.kept:
        yield Lines(
            [
                f"before: kept as {done.kept}",
                f"go back: dbctl restore --undo, or {done.undo_command}",
            ]
        )
    yield Lines([f"drop {done.kept or done.database}: {done.drop_command}"])
    yield Lines([Cell(f"note: {note}", style="warning") for note in done.notes])


def undone(done: Undone) -> Iterator[Block]:
    """What has its name again, and where the restored database is."""
    yield Lines([Cell(f"{done.database} is again what was kept as {done.brought_back}", style="good")])
    if done.aside:
        yield Lines([f"restored: kept as {done.aside}", f"drop {done.aside}: {done.drop_command}"])


def tables_back(done: TablesBack) -> Iterator[Block]:
    """Where the tables are, and the SQL to go on with."""
    what = f"{_counted(len(done.tables), 'table')} of {done.backup_id} into schema {done.schema}"
    yield Lines([Cell(f"restored {what} of {done.database}, in {done.duration_seconds:.1f} s", style="good")])
    for one in done.tables:
        yield Lines([f"{one.schema}.{one.name}: {_counted(one.rows, 'row')}; to bring back what is missing:"])
        yield Lines([f"  {one.copy_sql}"])
    if done.swap_sql:
        yield Lines(["or, to put all in the place of the live ones, with foreign keys, triggers and grants:"])
        yield Lines([f"  {line}" for line in done.swap_sql.splitlines()])
    yield Lines([f"drop it all: {done.drop_sql}"])


def size_text(size_bytes: int) -> str:
    """Such as ``12.3 MiB``."""
    if size_bytes < _STEP:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _STEP
        if size < _STEP:
            return f"{size:.1f} {unit}"
    return f"{size / _STEP:.1f} TiB"


def _fields(manifest: Manifest) -> Iterator[list[str | Cell]]:
    facts = manifest.facts
    yield ["environment", manifest.environment]
    yield ["database", f"{manifest.database} on {manifest.host}"]
    yield ["server", f"PostgreSQL {manifest.server_version}"]
    yield ["written by", f"pg_dump {manifest.client_version}, dbctl {manifest.dbctl_version}"]
    yield ["created", f"{_moment(manifest.created_at)}, in {manifest.duration_seconds:.1f} s"]
    yield ["archive", f"{manifest.archive}, {size_text(manifest.size_bytes)}, {manifest.compression}"]
    if manifest.encrypted_to:
        yield ["encrypted to", ", ".join(manifest.encrypted_to)]
    if chosen := manifest.selection:
        parts = [("tables", chosen.tables), ("schemas", chosen.schemas), ("without", chosen.excluded)]
        said = "; ".join(f"{name} {', '.join(names)}" for name, names in parts if names)
        yield ["partial", Cell(said, style="warning")]
    yield ["sha256", manifest.sha256]
    yield ["alembic", ", ".join(facts.alembic_revisions) or "none"]
    yield ["extensions", ", ".join(f"{one.name} {one.version}" for one in facts.extensions)]
    yield ["roles", ", ".join(facts.roles)]
    for note in manifest.notes:
        yield ["note", Cell(note, style="warning")]


def _proof(proof: Proof | None) -> Iterator[list[str | Cell]]:
    if proof is None:
        yield ["proof", "none yet: `dbctl backup verify --restore`"]
        return
    result = "good" if proof.good else "; ".join(proof.problems)
    style: Style = "good" if proof.good else "bad"
    yield ["proof", Cell(f"{_moment(proof.checked_at)}: {result} ({proof.compared})", style=style)]
    for note in proof.notes:
        yield ["note", Cell(note, style="warning")]


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
