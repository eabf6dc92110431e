"""The psql script that brings back what was saved, and nothing else, once `up` has made tables and columns again."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.migrate.loss.names import qualified, source
from dbctl.migrate.loss.parts import Part
from dbctl.postgres.identifiers import quote_identifier

# As the files were written; what a policy would hide must not be taken for missing.
_HEAD = """-- Run in this folder after the next `dbctl migrate up`, once: what is there again by then is not doubled.
\\encoding UTF8
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET row_security = off;
"""
_SAME, _NUMBER = "dbctl_same", "dbctl_number"


def bring_back(parts: Sequence[Part], sequences: Sequence[tuple[str, str, int]]) -> str:
    """The script. ``sequences`` are a table as SQL, its column, and the last value that column's sequence gave."""
    return "".join((_HEAD, *map(_of_part, parts), *(_of_sequence(*one) for one in sequences)))


def _of_part(part: Part) -> str:
    table, file = qualified(part.table), f"{part.name}.tsv"
    if part.found_by is None:
        said = f"{part.table.shown} has no primary key, and nobody knows what was overwritten: it is as it was in {file}"
        return f"\\echo {_literal(said)}\n"
    lines = [
        f"CREATE TEMPORARY TABLE saved AS SELECT {_listed(part.columns)} FROM {table} WITH NO DATA;",  # noqa: S608 - quoted names
        f"\\copy saved FROM {_literal(file)}",
        "ANALYZE saved;",
        *(_by_key(part, part.found_by) if part.is_key else _by_all_else(part, part.found_by)),
        "DROP TABLE saved;",
    ]
    return "\n".join(lines) + "\n"


def _by_key(part: Part, key: Sequence[str]) -> list[str]:
    same = f"({_listed(key, 't')}) = ({_listed(key, 'saved')})"
    lines = []
    if part.changed:
        lines.append(f"{_update(part, 'saved')} FROM saved WHERE {same} AND {_differ(part, 'saved')};")
    if part.inserts:
        there = f"SELECT FROM {qualified(part.table)} AS t WHERE {same}"
        lines.append(f"{_insert(part)} FROM saved WHERE NOT EXISTS ({there});")
    return lines


def _by_all_else(part: Part, columns: Sequence[str]) -> list[str]:
    """Rows that are alike in all else are as good as each other: the first takes the first one's values, and so on."""
    alike = f"CAST(ROW({_listed(columns)}) AS text)"
    numbered = f"{alike} AS {_SAME}, row_number() OVER (PARTITION BY {alike}) AS {_NUMBER}"
    was = f"(SELECT *, {numbered} FROM saved) AS was"  # noqa: S608 - quoted names
    now = f"(SELECT ctid AS place, tableoid AS part, {numbered} FROM {source(part.table)}) AS now"  # noqa: S608
    same = f"now.{_SAME} = was.{_SAME} AND now.{_NUMBER} = was.{_NUMBER}"
    lines = []
    if part.changed:
        place = f"t.ctid = now.place AND t.tableoid = now.part AND {_differ(part, 'was')}"
        lines.append(f"{_update(part, 'was')} FROM {was} JOIN {now} ON {same} WHERE {place};")
    if part.inserts:
        lines.append(f"{_insert(part)} FROM {was} WHERE NOT EXISTS (SELECT FROM {now} WHERE {same});")
    return lines


def _update(part: Part, source_name: str) -> str:
    values = ", ".join(
        f"{quote_identifier(name)} = {source_name}.{quote_identifier(name)}" for name in part.changed
    )
    return f"UPDATE {qualified(part.table)} AS t SET {values}"  # noqa: S608 - quoted names


def _differ(part: Part, source_name: str) -> str:
    now, then = _listed(part.changed, "t"), _listed(part.changed, source_name)
    return f"CAST(ROW({now}) AS text) <> CAST(ROW({then}) AS text)"


def _insert(part: Part) -> str:
    listed = _listed(part.columns)
    return f"INSERT INTO {qualified(part.table)} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed}"


def _of_sequence(table: str, column: str, last: int) -> str:
    """Never back: the sequence may have gone on in the meantime."""
    found = f"CAST(pg_get_serial_sequence({_literal(table)}, {_literal(column)}) AS regclass) AS s"
    return f"SELECT setval(s, greatest({last}, pg_sequence_last_value(s))) FROM (SELECT {found}) AS found WHERE s IS NOT NULL;\n"  # noqa: S608


def _listed(names: Sequence[str], of: str = "") -> str:
    return ", ".join(f"{of}.{quote_identifier(name)}" if of else quote_identifier(name) for name in names)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
