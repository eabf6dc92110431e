"""Names and types in the parse tree, and which relations a statement mentions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dbctl.postgres.sql.operations import Name, Type
from dbctl.postgres.sql.tree import Fields

_SYSTEM = "pg_catalog"
_SERIAL = {"serial4": "serial", "serial8": "bigserial", "serial2": "smallserial"}
_NO_CTES: frozenset[str] = frozenset()
_STATEMENTS = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
# Their objects are named by a list of words, not by a RangeVar; of a trigger, policy or rule all but the last
# word is its table.
_OF_A_TABLE = {
    "OBJECT_TRIGGER",
    "OBJECT_POLICY",
    "OBJECT_RULE",
    "OBJECT_COLUMN",
    "OBJECT_TABCONSTRAINT",
}
_RELATIONS_AND_TYPES = {
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_INDEX",
    "OBJECT_SEQUENCE",
    "OBJECT_FOREIGN_TABLE",
    "OBJECT_TYPE",
    "OBJECT_DOMAIN",
}


def words(nodes: Iterable[Fields]) -> list[str]:
    """The strings of a list of String nodes."""
    return [node["String"].get("sval", "") for node in nodes if "String" in node]


def dotted(parts: list[str]) -> Name:
    """A name of one, two or three words (the database is dropped)."""
    return Name(parts[-1], parts[-2] if len(parts) > 1 else "") if parts else Name("")


def relation(fields: Fields) -> Name:
    """A RangeVar's name."""
    return Name(
        name=fields.get("relname", ""),
        schema=fields.get("schemaname", ""),
        only=not fields.get("inh", False),
        temporary=fields.get("relpersistence") == "t",
    )


def any_name(node: Fields) -> Name:
    """The name of an object, in any of the ways in which DROP, COMMENT and ALTER hold one."""
    if "String" in node:
        return Name(node["String"].get("sval", ""))
    if "TypeName" in node:
        return dotted(words(node["TypeName"].get("names", ())))
    if "ObjectWithArgs" in node:
        return dotted(words(node["ObjectWithArgs"].get("objname", ())))
    if "RangeVar" in node:
        return relation(node["RangeVar"])
    return dotted(words(node.get("List", {}).get("items", ())))


def typed(fields: Fields | None) -> Type:
    """A TypeName's type."""
    if not fields:
        return Type("")
    parts = words(fields.get("names", ()))
    name = ".".join(parts[1:] if parts[:1] == [_SYSTEM] else parts)
    modifiers = (integer(node) for node in fields.get("typmods", ()))
    return Type(
        name=_SERIAL.get(name, name),
        modifiers=tuple(number for number in modifiers if number is not None),
        is_array=bool(fields.get("arrayBounds")),
    )


def integer(node: Fields) -> int | None:
    """The value of an integer constant."""
    constant = node.get("A_Const", {})
    return constant["ival"].get("ival", 0) if "ival" in constant else None


def relations(node: Any) -> list[Name]:
    """The tables and views below a node, in order; names of WITH queries are none where they are in scope."""
    found: list[Name] = []
    _collect(node, _NO_CTES, found, None)
    return found


def mentioned(kind: str, fields: Fields) -> tuple[Name, ...]:
    """Every relation and every type of a user that a statement mentions, in order, each once."""
    if kind == "ConstraintsSetStmt":
        return ()
    found: list[Name] = []
    types: list[Name] = []
    _in_field(kind, fields, _NO_CTES, found, types)
    found += types
    found += _listed(fields)
    return tuple(dict.fromkeys(Name(name.name, name.schema) for name in found if name.name))


def _collect(node: Any, ctes: frozenset[str], found: list[Name], types: list[Name] | None) -> None:
    """Gather names into ``found``, and those of types into ``types``. Lists: this is the hot path."""
    if type(node) is list:
        for item in node:
            _collect(item, ctes, found, types)
    elif type(node) is dict:
        if types is not None and "typemod" in node:
            _note_type(node, types)
        for key, value in node.items():
            if type(value) is dict or type(value) is list:
                _in_field(key, value, ctes, found, types)


def _in_field(
    key: str, value: Any, ctes: frozenset[str], found: list[Name], types: list[Name] | None
) -> None:
    if key in _STATEMENTS:
        _in_statement(value, ctes, found, types)
    elif "relname" in value and type(value) is dict:
        # In a field of a fixed type (INSERT's relation) no WITH query can stand.
        if key != "RangeVar" or value.get("schemaname") or value["relname"] not in ctes:
            found.append(relation(value))
    else:
        _collect(value, ctes, found, types)


def _in_statement(fields: Fields, ctes: frozenset[str], found: list[Name], types: list[Name] | None) -> None:
    """A SELECT, INSERT, UPDATE, DELETE or MERGE: each WITH query sees those before it, or all if recursive."""
    clause = fields.get("withClause", {})
    queries = [node["CommonTableExpr"] for node in clause.get("ctes", ())]
    if clause.get("recursive"):
        ctes |= {query.get("ctename", "") for query in queries}
    for query in queries:
        _collect(query, ctes, found, types)
        ctes |= {query.get("ctename", "")}
    for key, value in fields.items():
        if key in {"larg", "rarg"}:
            # The arms of a UNION stand there without their node's name.
            _in_statement(value, ctes, found, types)
        elif key != "withClause" and (type(value) is dict or type(value) is list):
            _in_field(key, value, ctes, found, types)


def _note_type(fields: Fields, types: list[Name]) -> None:
    parts = words(fields.get("names", ()))
    if parts and parts[0] != _SYSTEM:
        types.append(dotted(parts))


def _listed(fields: Fields) -> Iterator[Name]:
    """Names held as lists of words: DROP, COMMENT, ALTER TYPE and DOMAIN; an index used for a constraint."""
    kind = (
        fields.get("removeType")
        or fields.get("objtype")
        or fields.get("renameType")
        or fields.get("objectType")
    )
    objects = fields.get("objects") or [fields[key] for key in ("object",) if key in fields]
    for node in objects:
        if kind in _RELATIONS_AND_TYPES:
            yield any_name(node)
        elif kind in _OF_A_TABLE:
            yield dotted(words(node.get("List", {}).get("items", ()))[:-1])
    for key in ("typeName", "domainname"):
        if type(fields.get(key)) is list:
            yield dotted(words(fields[key]))
    for command in fields.get("cmds", ()):
        definition = command.get("AlterTableCmd", {}).get("def", {})
        index = definition.get("Constraint", {}).get("indexname") or definition.get(
            "ReplicaIdentityStmt", {}
        ).get("name")
        if index:
            yield Name(index, fields.get("relation", {}).get("schemaname", ""))
