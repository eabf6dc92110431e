"""Whether two expressions say the same: one as a person wrote it, one as PostgreSQL prints it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from dbctl.postgres.sql.tree import Fields, SqlNotParsed, read


def is_key_of(index_definition: str, columns: Collection[str], expressions: Sequence[Fields]) -> bool:
    """Whether the columns and expressions given are all that an index (pg_get_indexdef) is over."""
    try:
        ((_, _, index),) = read(index_definition)
    except (SqlNotParsed, ValueError):
        return False
    given = [_bare(each) for each in expressions]
    elements = [node["IndexElem"] for node in index.get("indexParams", ())]
    return all(
        _bare(each["expr"]) in given if "expr" in each else each.get("name") in columns for each in elements
    )


def _bare(node: Any) -> Any:
    """Without casts, which PostgreSQL adds, and without the names of tables and the places in the text."""
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "TypeCast" in node:
        return _bare(node["TypeCast"].get("arg", {}))
    if "ColumnRef" in node:
        return {"ColumnRef": _bare(node["ColumnRef"].get("fields", [])[-1:])}
    return {key: _bare(value) for key, value in node.items() if key not in {"location", "funcformat"}}
