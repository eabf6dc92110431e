"""The safe way of a change of many rows: the statement itself, batch by batch, each committed at once."""

from __future__ import annotations

import re

from dbctl.migrate.rules.facts import unique_keys
from dbctl.migrate.rules.python_text import outside
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.batches import PART, START, UNTIL, merge_of_part, next_rows, one_range, plain_update
from dbctl.postgres.sql.operations import Delete, Insert, Merge, Update

_PARAMETER = re.compile(r"\$\d")
_COLON = re.compile(r"(?<!:):(?=\w)")
_BACKFILL = """\
from dbctl.migrate import backfill

backfill(
    op,
    {name},
    set={set},{where}
)"""
_UNTIL_NONE_IS_LEFT = """\
with op.get_context().autocommit_block():
    batch = {batch}
    while op.get_bind().exec_driver_sql(batch, execution_options={{"no_parameters": True}}).rowcount:
        pass"""
_BY_KEY = """\
def first(sql):
    return op.get_bind().exec_driver_sql(sql, execution_options={{"no_parameters": True}}).scalar()

with op.get_context().autocommit_block():
    start = first({first})
    while start is not None:
        until = first({until})
        op.get_bind().exec_driver_sql(
            {batch},
            execution_options={{"no_parameters": True}},
        )
        start = first({next})"""


def in_batches(change: Update | Delete | Insert | Merge, table: Table) -> str:
    """A body of ``upgrade()``; empty where the statement can't be cut into parts that make up the whole."""
    if isinstance(change, Merge) or change.tree is None:
        return ""
    try:
        body = _loop(change, table)
    except Exception:  # noqa: BLE001 - a statement that can't be written anew gets the general form
        return ""
    if _PARAMETER.search(body):
        body = f"# $1, $2 … stand for the values that the statement is given: write them in.\n{body}"
    return body


def by_place(change: Update | Delete) -> str:
    """The same of a change whose table nobody has looked at: its rows are found by where they are (ctid)."""
    try:
        batch = next_rows(change, ("ctid",), {})
    except Exception:  # noqa: BLE001 - as in `in_batches`
        batch = ""
    return _UNTIL_NONE_IS_LEFT.format(batch=_literal(batch)) if batch else ""


def merge_in_parts(sql: str) -> str:
    """MERGE from a part of what it reads; a person says how the parts are made."""
    try:
        part, source = merge_of_part(sql)
    except Exception:  # noqa: BLE001 - as in `in_batches`
        part, source = "", ""
    if not part:
        return "# Cut it into parts by hand: this MERGE is about all rows of its tables at once."
    once = (
        f"# Once for each part of {source}, which together are all of it: id BETWEEN 1 AND 1000, and so on."
    )
    accept = "# dbctl: accept dml-unbatched because it is about one part of them"
    return f"{once}\n{accept}\n{outside(part).replace(f'{chr(39)}{PART}{chr(39)}', '<part>')}"


def _loop(change: Update | Delete | Insert, table: Table) -> str:
    key = next((index.columns for index in table.indexes if index.primary), ())
    if not isinstance(change, Insert):
        types = {name: column.type for name, column in table.columns.items()}
        place = ("tableoid", "ctid") if table.relation.kind == "partitioned table" else ("ctid",)
        batch = next_rows(change, key or place, types)
        if batch:
            return _UNTIL_NONE_IS_LEFT.format(batch=_literal(batch))
    names = sorted(next(iter(each)) for each in unique_keys(table) if len(each) == 1)
    whole = [name for name in names if table.columns[name].not_null]
    batch = one_range(change, whole[0], (table.relation.schema, table.relation.name)) if whole else ""
    if batch:
        return _walk(batch, quote_identifier(whole[0]), _shown(table))
    return _backfill(change, table) if key and isinstance(change, Update) else ""


def _backfill(change: Update, table: Table) -> str:
    """For a key of several columns, and rows that do not show whether they are changed already."""
    parts = plain_update(change)
    if parts is None:
        return ""
    values, where = parts
    relation = table.relation
    name = relation.name if relation.schema == "public" else f"{relation.schema}.{relation.name}"
    given = ", ".join(f"{column!r}: sa.text({_as_text(value)})" for column, value in values.items())
    meant = f"\n    where=sa.text({_as_text(where)})," if where else ""
    return _BACKFILL.format(name=repr(name), set=f"{{{given}}}", where=meant)


def _as_text(sql: str) -> str:
    """As SQLAlchemy's text() wants it, in which a colon stands for a parameter."""
    return repr(_COLON.sub(r"\\:", sql))


def _walk(batch: str, key: str, table: str) -> str:
    text = f"SELECT quote_literal(CAST({key} AS text)) FROM"
    part = f"(SELECT {key} FROM {table} WHERE {key} >= {{start}} ORDER BY {key} LIMIT 1000) AS batch"  # noqa: S608 - quoted names
    # What stands for the ends is quoted: the server's quote_literal() brings its own quotes.
    filled = _doubled(batch).replace(f"'{START}'", "{start}").replace(f"'{UNTIL}'", "{until}")
    return _BY_KEY.format(
        first=_literal(f"{text} {table} ORDER BY {key} LIMIT 1"),
        until="f" + _literal(f"{text} {part} ORDER BY {key} DESC LIMIT 1"),
        batch="f" + _literal(filled),
        next="f" + _literal(f"{text} {table} WHERE {key} > {{until}} ORDER BY {key} LIMIT 1"),
    )


def _shown(table: Table) -> str:
    relation = table.relation
    schema = "" if relation.schema == "public" else f"{quote_identifier(relation.schema)}."
    return schema + quote_identifier(relation.name)


def _doubled(sql: str) -> str:
    return sql.replace("{", "{{").replace("}", "}}")


def _literal(sql: str) -> str:
    """The SQL as Python writes a text."""
    plain = "\\" not in sql and '"""' not in sql and not sql.endswith('"')
    return f'"""{sql}"""' if plain else repr(sql)
