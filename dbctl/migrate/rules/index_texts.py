"""An index as SQL: the definition that was written, or the same under another name; a look for its duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from dbctl.migrate.rules.fixes import listed, qualified
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.sql.operations import CreateIndex
from dbctl.postgres.sql.tree import Fields, deparse, deparse_statement

_DEFINITION = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(\S.*)",
    re.IGNORECASE | re.DOTALL,
)


def written_definition(operation: CreateIndex, sql: str) -> str:
    """What stands behind CREATE INDEX in ``sql``; where that is more than the index, what PostgreSQL would print."""
    written = _DEFINITION.fullmatch(sql)
    return written[1].rstrip("; \n") if written else definition(operation)


def definition(operation: CreateIndex, *, name: str = "", **fields: object) -> str:
    """What stands behind CREATE INDEX: its columns, operator classes, INCLUDE, WHERE and all, with other ``fields``."""
    if operation.tree is None:
        text = f"{quote_if_needed(name or operation.name)} ON {qualified(operation.table)}"
        return f"{text} ({listed(operation.columns)})"
    left_out = {"unique", "concurrent", "if_not_exists"}
    tree = {key: value for key, value in operation.tree.items() if key not in left_out}
    given = {"idxname": name} if name else {}
    return deparse_statement({"IndexStmt": {**tree, **given, **fields}}).removeprefix("CREATE INDEX ")


def as_sql(operation: CreateIndex, written: str) -> dict[str, str]:
    """The names that a safe way is filled with: its ``definition``, and whether it is ``unique``."""
    return {"unique": "UNIQUE " if operation.unique else "", "definition": written}


def on(operation: CreateIndex, table: str, schema: str, *, children: bool) -> Fields:
    """The field of the tree that puts the index on another table; without its ``children``, ON ONLY it."""
    place = (operation.tree or {}).get("relation", {"relpersistence": "p"})
    kept = {key: value for key, value in place.items() if key not in {"inh", "schemaname"}}
    return {
        "relation": kept
        | {"relname": table}
        | ({"schemaname": schema} if schema else {})
        | ({"inh": True} if children else {})
    }


def place_of(schema: str, name: str) -> str:
    """A name as SQL, with its schema but for ``public``."""
    return ".".join(quote_if_needed(part) for part in ("" if schema == "public" else schema, name) if part)


def free_name(table: Table, wanted: str) -> str:
    """The name, or one like it that none of the table's indexes has."""
    taken = {index.name for index in table.indexes}
    return next(name for n in count() if (name := f"{wanted}{n or ''}") not in taken)


def duplicates(operation: CreateIndex) -> dict[str, str]:
    """The ``keys`` that two rows may not share, and ``chosen``, the WHERE of the rows that count.

    NULLs are no duplicates, unless the index says so.
    """
    keys = list(_keys(operation))
    tree = operation.tree or {}
    conditions = [f"({deparse(tree['whereClause'])})"] if "whereClause" in tree else []
    if not operation.nulls_not_distinct:
        conditions += [f"{key} IS NOT NULL" for key in keys]
    return {"keys": ", ".join(keys), "chosen": f"WHERE {' AND '.join(conditions)} " if conditions else ""}


def _keys(operation: CreateIndex) -> Iterator[str]:
    nodes = (operation.tree or {}).get("indexParams", ())
    expressions = [node["IndexElem"].get("expr") for node in nodes] or [None] * len(operation.columns)
    for column, expression in zip(operation.columns, expressions, strict=True):
        yield quote_if_needed(column) if expression is None else f"({deparse(expression)})"
