"""CREATE TABLE written anew for a fix: all its columns and constraints, but for what is meant to differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dbctl.migrate.rules.fixes import numbered
from dbctl.migrate.rules.partition_indexes import default_name
from dbctl.migrate.rules.python_text import execute
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.sql.names import relation, words
from dbctl.postgres.sql.operations import Name
from dbctl.postgres.sql.tree import Fields, SqlNotParsed, deparse_statement, read

_SERIAL = {"serial", "serial4", "smallserial", "serial2"}
_ID = "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
_Keep = Callable[[Name], bool]


@dataclass(frozen=True, slots=True)
class _Key:
    """A foreign key as a statement of its own."""

    name: str
    add: str


def keys_apart(sql: str, is_old: Callable[[Name], bool], indexes: str) -> str:
    """The table without its keys into tables that are old, with the ``indexes`` for them; then each key by itself."""
    fields = _create(sql)
    if fields is None:
        return ""
    taken = list(_taken(fields, is_old))
    keys = [_key(fields["relation"], key) for key in taken]
    table = ".".join(map(quote_if_needed, filter(None, _place(fields))))
    bodies = [execute(deparse_statement({"CreateStmt": fields})) + indexes]
    for key in keys:
        bodies += [
            execute(key.add),
            execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote_if_needed(key.name)}"),
        ]
    return numbered(bodies)


def with_wide_key(sql: str, column: str) -> str:
    """The table with a 64-bit number for the column; empty where the statement is more than CREATE TABLE."""
    fields = _create(sql)
    for definition in _columns(fields or {}):
        if definition.get("colname") == column:
            type_ = definition["typeName"]
            is_serial = [*words(type_["names"])][-1] in _SERIAL
            names = ["bigserial"] if is_serial else ["pg_catalog", "int8"]
            type_["names"] = [{"String": {"sval": name}} for name in names]
    return execute(deparse_statement({"CreateStmt": fields})) if fields else ""


def with_types(sql: str, better: Mapping[str, str]) -> str:
    """The table with other types for these columns; empty as for `with_wide_key`."""
    fields = _create(sql)
    for definition in _columns(fields or {}):
        if name := better.get(definition.get("colname", "")):
            type_ = definition["typeName"]
            parts = (name,) if name == "text" else ("pg_catalog", name)
            type_["names"] = [{"String": {"sval": part}} for part in parts]
            type_.pop("typmods", None)
    return execute(deparse_statement({"CreateStmt": fields})) if fields else ""


def with_key(sql: str) -> str:
    """The table with a primary key of its own, named id; empty as for `with_wide_key`."""
    fields = _create(sql)
    if fields is None or any(each.get("colname") == "id" for each in _columns(fields)):
        return ""
    ((_, _, other),) = read(_ID)
    fields["tableElts"] = [*other["tableElts"], *fields.get("tableElts", ())]
    return execute(deparse_statement({"CreateStmt": fields}))


def _create(sql: str) -> Fields | None:
    try:
        statements = read(sql)
    except SqlNotParsed:
        return None
    if len(statements) != 1 or statements[0][1] != "CreateStmt":
        return None
    return statements[0][2]


def _columns(fields: Fields) -> Iterator[Fields]:
    yield from (each["ColumnDef"] for each in fields.get("tableElts", ()) if "ColumnDef" in each)


def _place(fields: Fields) -> tuple[str, str]:
    return fields["relation"].get("schemaname", ""), fields["relation"]["relname"]


def _taken(fields: Fields, is_old: _Keep) -> Iterator[Fields]:
    """The foreign keys into old tables, taken out of the statement."""

    def goes(node: Any) -> bool:
        key = node.get("Constraint", {})
        return key.get("contype") == "CONSTR_FOREIGN" and is_old(relation(key["pktable"]))

    elements = fields.get("tableElts", [])
    for definition in _columns(fields):
        constraints = definition.get("constraints", [])
        keys = [node["Constraint"] for node in constraints if goes(node)]
        if keys:
            # DEFERRABLE stands beside the key that it is of.
            when = {node["Constraint"]["contype"] for node in constraints if _is_attribute(node)}
            definition["constraints"] = [n for n in constraints if not goes(n) and not _is_attribute(n)]
            for key in keys:
                key["fk_attrs"] = [{"String": {"sval": definition["colname"]}}]
                key["deferrable"] = bool(when & {"CONSTR_ATTR_DEFERRABLE", "CONSTR_ATTR_DEFERRED"})
                key["initdeferred"] = "CONSTR_ATTR_DEFERRED" in when
            yield from keys
    yield from (node["Constraint"] for node in elements if goes(node))
    fields["tableElts"] = [node for node in elements if not goes(node)]


def _is_attribute(node: Any) -> bool:
    return str(node.get("Constraint", {}).get("contype", "")).startswith("CONSTR_ATTR_")


def _key(table: Fields, key: Fields) -> _Key:
    name = key.get("conname") or default_name(table["relname"], [*words(key["fk_attrs"])], "fkey")
    definition = {k: v for k, v in key.items() if k != "initially_valid"}
    definition |= {"conname": name, "skip_validation": True}
    command = {"subtype": "AT_AddConstraint", "def": {"Constraint": definition}, "behavior": "DROP_RESTRICT"}
    statement = {"relation": table, "cmds": [{"AlterTableCmd": command}], "objtype": "OBJECT_TABLE"}
    return _Key(name, deparse_statement({"AlterTableStmt": statement}))
