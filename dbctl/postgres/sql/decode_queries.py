"""SELECT, INSERT, UPDATE, DELETE, MERGE, and what carries one: EXPLAIN ANALYZE, COPY, a cursor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql.decode_tables import create_table_as
from dbctl.postgres.sql.expressions import column, is_bounded, which_rows, with_queries
from dbctl.postgres.sql.names import integer, relation, relations, words
from dbctl.postgres.sql.operations import Filter, Name, Operation
from dbctl.postgres.sql.tree import Fields, unwrap, walk

_CHANGES = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}


def select(fields: Fields) -> Iterator[Operation]:
    """A query; SELECT INTO makes a table; WITH may change rows, set_config() a setting."""
    yield from _changes_in_with(fields)
    if "intoClause" in fields:
        query = {key: value for key, value in fields.items() if key != "intoClause"}
        yield from create_table_as({"into": fields["intoClause"], "query": {"SelectStmt": query}})
        return
    nodes = list(walk({"SelectStmt": fields}))
    locking = [node for kind, node in nodes if kind == "LockingClause"]
    yield op.Select(
        tables=_tables({"SelectStmt": fields}),
        filter=_rows_of(fields),
        locks_rows=bool(locking),
        skips_locked=any(node.get("waitPolicy") == "LockWaitSkip" for node in locking),
        grouped_by=_grouped_by(
            fields, [node for kind, node in nodes if kind in {"SelectStmt", "larg", "rarg"}]
        ),
    )
    yield from (setting for kind, node in nodes if kind == "FuncCall" for setting in _set_config(node))


def insert(fields: Fields) -> Iterator[Operation]:
    """INSERT; rows that come from no table (SQLAlchemy's batches: SELECT … FROM (VALUES …)) count as values."""
    yield from _changes_in_with(fields)
    table = relation(fields.get("relation", {}))
    query = fields.get("selectStmt")
    if query is None:
        yield op.Insert(table, "default")
        return
    ctes = with_queries(fields, {})
    body = {"withClause": fields.get("withClause", {}), "query": query}
    read = tuple(dict.fromkeys(relations({"SelectStmt": body})))
    limited = is_bounded(query, ctes)
    if limited and not read:
        yield op.Insert(table, "values")
        return
    rows = replace(_rows_of(query.get("SelectStmt", {})), limited=limited)
    yield op.Insert(table, "select", tables_read=read, limited=limited, filter=rows, tree=fields)


def update(fields: Fields) -> Iterator[Operation]:
    """UPDATE."""
    yield from _changes_in_with(fields)
    targets = (node.get("ResTarget", {}) for node in fields.get("targetList", ()))
    yield op.Update(
        table=relation(fields.get("relation", {})),
        columns=tuple(target["name"] for target in targets if "name" in target),
        filter=_changed_rows(fields, "fromClause"),
        tables_read=_read_beside(fields, "UpdateStmt"),
        tree=fields,
    )


def delete(fields: Fields) -> Iterator[Operation]:
    """DELETE."""
    yield from _changes_in_with(fields)
    yield op.Delete(
        table=relation(fields.get("relation", {})),
        filter=_changed_rows(fields, "usingClause"),
        tables_read=_read_beside(fields, "DeleteStmt"),
        tree=fields,
    )


def merge(fields: Fields) -> Iterator[Operation]:
    """MERGE."""
    yield from _changes_in_with(fields)
    yield op.Merge(relation(fields.get("relation", {})), tables_read=_read_beside(fields, "MergeStmt"))


def carried(fields: Fields) -> Iterator[Operation]:
    """The query inside a statement that runs it."""
    kind, query = unwrap(fields.get("query", {}))
    yield from QUERIES[kind](query) if kind in QUERIES else ()


def explain(fields: Fields) -> Iterator[Operation]:
    """EXPLAIN, which runs its statement with ANALYZE only."""
    options = {node["DefElem"].get("defname") for node in fields.get("options", ()) if "DefElem" in node}
    if "analyze" in options:
        yield from carried(fields)
    else:
        yield op.Other("ExplainStmt", _tables(fields))


def copy(fields: Fields) -> Iterator[Operation]:
    """COPY … TO reads, COPY … FROM inserts."""
    if "query" in fields:
        yield from carried(fields)
    elif fields.get("is_from"):
        yield op.Insert(relation(fields["relation"]), "values")
    else:
        yield op.Select((relation(fields["relation"]),), Filter(all_rows=True))


def _changes_in_with(fields: Fields) -> Iterator[Operation]:
    for node in fields.get("withClause", {}).get("ctes", ()):
        kind, query = unwrap(node["CommonTableExpr"].get("ctequery", {}))
        if kind in _CHANGES:
            yield from QUERIES[kind](query)


def _changed_rows(fields: Fields, source: str) -> Filter:
    ctes = with_queries(fields, {})
    return which_rows(fields.get("whereClause"), fields.get(source, ()), ctes=ctes)


def _rows_of(fields: Fields) -> Filter:
    """Of a set operation, the first arm's condition; bounded only if the whole is."""
    arm = fields
    while "larg" in arm:
        arm = arm["larg"]
    rows = which_rows(arm.get("whereClause"), ctes=with_queries(fields, {}))
    return replace(rows, limited=is_bounded({"SelectStmt": fields}, {}))


def _tables(node: Fields) -> tuple[Name, ...]:
    return tuple(dict.fromkeys(relations(node)))


def _read_beside(fields: Fields, kind: str) -> tuple[Name, ...]:
    """The tables that a change reads beside its own."""
    own = {key: value for key, value in fields.items() if key != "relation"}
    return _tables({kind: own})


def _grouped_by(outermost: Fields, queries: list[Fields]) -> tuple[str, ...]:
    for query in (outermost, *queries):
        if "groupClause" in query and "havingClause" in query:
            return tuple(_group(node, query) for node in query["groupClause"])
    return ()


def _group(node: Fields, query: Fields) -> str:
    """A column of GROUP BY, by name or by its place among the results; an expression is an empty name."""
    place = integer(node)
    targets = query.get("targetList", ())
    if place is not None and 0 < place <= len(targets):
        node = targets[place - 1].get("ResTarget", {}).get("val", {})
    return column(node["ColumnRef"]) if "ColumnRef" in node else ""


def _set_config(call: Fields) -> Iterator[Operation]:
    arguments = [node.get("A_Const", {}) for node in call.get("args", ())]
    if (
        words(call.get("funcname", ()))[-1:] == ["set_config"]
        and len(arguments) > 1
        and "sval" in arguments[0]
    ):
        name, value = (argument.get("sval", {}).get("sval", "") for argument in arguments[:2])
        is_local = arguments[-1].get("boolval", {}).get("boolval", False)
        yield op.SetVariable(name.lower(), value, local=is_local)


QUERIES = {
    "SelectStmt": select,
    "InsertStmt": insert,
    "UpdateStmt": update,
    "DeleteStmt": delete,
    "MergeStmt": merge,
}
