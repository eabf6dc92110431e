"""DROP, RENAME, SET SCHEMA, and whatever is made or changed beside tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql.decode_alter import is_cascade
from dbctl.postgres.sql.expressions import column, expression
from dbctl.postgres.sql.names import any_name, dotted, relation, typed, words
from dbctl.postgres.sql.operations import ConstraintKind, Name, Operation
from dbctl.postgres.sql.tree import Fields, unwrap

# The others are their own words: OBJECT_FOREIGN_TABLE is a foreign table.
_KINDS = {
    "OBJECT_MATVIEW": "materialized view",
    "OBJECT_TABCONSTRAINT": "constraint",
    "OBJECT_DOMCONSTRAINT": "domain constraint",
}
_OF_A_TABLE = {"trigger", "policy", "rule"}
_REINDEX: dict[str, Literal["index", "table", "schema", "system", "database"]] = {
    "REINDEX_OBJECT_INDEX": "index",
    "REINDEX_OBJECT_TABLE": "table",
    "REINDEX_OBJECT_SCHEMA": "schema",
    "REINDEX_OBJECT_SYSTEM": "system",
    "REINDEX_OBJECT_DATABASE": "database",
}
_DOMAIN: dict[str, ConstraintKind] = {"CONSTR_CHECK": "check", "CONSTR_NOTNULL": "not null"}


def kind_of(object_type: str) -> str:
    """An ObjectType in words."""
    return _KINDS.get(object_type) or object_type.removeprefix("OBJECT_").lower().replace("_", " ")


def option(nodes: list[Fields], name: str) -> bool:
    """Whether an option in parentheses is on: (FULL), (FULL true), not (FULL off)."""
    for node in nodes:
        given = node.get("DefElem", {})
        if given.get("defname") == name:
            _, value = unwrap(given.get("arg", {}))
            word = str(value.get("sval", value.get("ival", value.get("boolval", "on" if not value else 0))))
            return word.lower() not in {"off", "false", "0"}
    return False


def drop(fields: Fields) -> Iterator[Operation]:
    """DROP of all that PostgreSQL's DropStmt drops."""
    kind = kind_of(fields.get("removeType", ""))
    objects = fields.get("objects", ())
    tables: tuple[Name, ...] = ()
    if kind in _OF_A_TABLE:
        parts = [words(node.get("List", {}).get("items", ())) for node in objects]
        names = tuple(Name(words_[-1]) for words_ in parts if words_)
        tables = tuple(dotted(words_[:-1]) for words_ in parts if words_)
    else:
        names = tuple(any_name(node) for node in objects)
    yield op.Drop(
        kind=kind,
        names=names,
        tables=tables,
        if_exists=fields.get("missing_ok", False),
        cascade=is_cascade(fields),
        concurrently=fields.get("concurrent", False),
    )


def drop_database(fields: Fields) -> Iterator[Operation]:
    yield op.Drop("database", (Name(fields.get("dbname", "")),), if_exists=fields.get("missing_ok", False))


def rename(fields: Fields) -> Iterator[Operation]:
    """ALTER … RENAME."""
    kind = kind_of(fields.get("renameType", ""))
    thing = relation(fields["relation"]) if "relation" in fields else any_name(fields.get("object", {}))
    old = fields.get("subname") or thing.name
    yield op.Rename(kind, thing if thing.name else Name(old), old, fields.get("newname", ""))


def set_schema(fields: Fields) -> Iterator[Operation]:
    thing = relation(fields["relation"]) if "relation" in fields else any_name(fields.get("object", {}))
    yield op.SetSchema(kind_of(fields.get("objectType", "")), thing, fields.get("newschema", ""))


def create_index(fields: Fields) -> Iterator[Operation]:
    yield op.CreateIndex(
        table=relation(fields.get("relation", {})),
        name=fields.get("idxname", ""),
        columns=_index_columns(fields, "indexParams"),
        included=_index_columns(fields, "indexIncludingParams"),
        method=fields.get("accessMethod", "btree"),
        unique=fields.get("unique", False),
        concurrently=fields.get("concurrent", False),
        if_not_exists=fields.get("if_not_exists", False),
        is_partial="whereClause" in fields,
        nulls_not_distinct=fields.get("nulls_not_distinct", False),
        tree=fields,
    )


def reindex(fields: Fields) -> Iterator[Operation]:
    named = relation(fields["relation"]) if "relation" in fields else Name(fields.get("name", ""))
    concurrently = option(fields.get("params", []), "concurrently")
    yield op.Reindex(_REINDEX.get(fields.get("kind", ""), "index"), named, concurrently)


def truncate(fields: Fields) -> Iterator[Operation]:
    yield op.Truncate(_relations(fields, "relations"), is_cascade(fields))


def cluster(fields: Fields) -> Iterator[Operation]:
    yield op.Cluster(relation(fields["relation"]) if "relation" in fields else None)


def vacuum(fields: Fields) -> Iterator[Operation]:
    rels = (node.get("VacuumRelation", {}) for node in fields.get("rels", ()))
    tables = tuple(relation(each["relation"]) for each in rels if "relation" in each)
    if fields.get("is_vacuumcmd"):
        yield op.Vacuum(tables, option(fields.get("options", []), "full"))
    else:
        yield op.Other("VacuumStmt", tables)


def lock(fields: Fields) -> Iterator[Operation]:
    mode = list(LockMode)[fields.get("mode", 8) - 1]
    yield op.LockTable(_relations(fields, "relations"), mode, nowait=fields.get("nowait", False))


def create_trigger(fields: Fields) -> Iterator[Operation]:
    table = relation(fields.get("relation", {}))
    yield op.CreateTrigger(table, fields.get("trigname", ""), fields.get("isconstraint", False))


def create_rule(fields: Fields) -> Iterator[Operation]:
    yield op.CreateTrigger(relation(fields.get("relation", {})), fields.get("rulename", ""), is_rule=True)


def create_policy(fields: Fields) -> Iterator[Operation]:
    table = relation(fields.get("table", {}))
    yield op.CreatePolicy(table, fields.get("policy_name", ""), permissive=fields.get("permissive", False))


def alter_policy(fields: Fields) -> Iterator[Operation]:
    yield op.CreatePolicy(relation(fields.get("table", {})), fields.get("policy_name", ""), is_alter=True)


def create_view(fields: Fields) -> Iterator[Operation]:
    aliases = tuple(words(fields.get("aliases", ())))
    columns = aliases or _results(fields.get("query", {}).get("SelectStmt", {}))
    yield op.CreateView(relation(fields.get("view", {})), fields.get("replace", False), columns)


def refresh_view(fields: Fields) -> Iterator[Operation]:
    yield op.RefreshMaterializedView(
        view=relation(fields.get("relation", {})),
        concurrently=fields.get("concurrent", False),
        with_data=not fields.get("skipData", False),
    )


def alter_domain(fields: Fields) -> Iterator[Operation]:
    """ALTER DOMAIN: its subtype is one letter."""
    domain = dotted(words(fields.get("typeName", ())))
    subtype = fields.get("subtype")
    constraint = fields.get("def", {}).get("Constraint", {})
    if subtype == "C":
        kind = _DOMAIN.get(constraint.get("contype", ""), "check")
        valid = not constraint.get("skip_validation", False)
        condition = expression(constraint["raw_expr"]) if "raw_expr" in constraint else None
        yield op.AddDomainConstraint(domain, kind, constraint.get("conname", ""), valid, condition)
    elif subtype == "O":
        yield op.AddDomainConstraint(domain, "not null")
    elif subtype == "V":
        yield op.ValidateDomainConstraint(domain, fields.get("name", ""))
    else:
        yield op.Other("AlterDomainStmt", (domain,))


def create_enum(fields: Fields) -> Iterator[Operation]:
    yield op.CreateEnum(dotted(words(fields.get("typeName", ()))), tuple(words(fields.get("vals", ()))))


def alter_enum(fields: Fields) -> Iterator[Operation]:
    name = dotted(words(fields.get("typeName", ())))
    new = fields.get("newVal", "")
    if "oldVal" in fields:
        yield op.Rename("enum value", name, fields["oldVal"], new)
    elif new:
        yield op.AddEnumValue(name, new, fields.get("skipIfNewValExists", False))
    else:
        yield op.Other("AlterEnumStmt", (name,))


def create_sequence(fields: Fields) -> Iterator[Operation]:
    types = [
        typed(node["DefElem"].get("arg", {}).get("TypeName")).name
        for node in fields.get("options", ())
        if node.get("DefElem", {}).get("defname") == "as"
    ]
    name = relation(fields.get("sequence", {}))
    yield op.CreateSequence(name, types[0] if types else "", fields.get("if_not_exists", False))


def create_extension(fields: Fields) -> Iterator[Operation]:
    yield op.CreateExtension(fields.get("extname", ""), fields.get("if_not_exists", False))


def publication(fields: Fields) -> Iterator[Operation]:
    """CREATE PUBLICATION, and ALTER PUBLICATION … ADD or SET."""
    if fields.get("action") == "AP_DropObjects":
        yield op.Other("AlterPublicationStmt")
        return
    specs = [node.get("PublicationObjSpec", {}) for node in fields.get("pubobjects", ())]
    tables = (spec["pubtable"]["relation"] for spec in specs if "pubtable" in spec)
    # CURRENT_SCHEMA has no name: it is most likely public.
    schemas = tuple(spec.get("name", "public") for spec in specs if "IN_" in spec.get("pubobjtype", ""))
    yield op.ChangePublication(
        publication=fields.get("pubname", ""),
        tables=tuple(relation(table) for table in tables),
        all_tables=fields.get("for_all_tables", False) or bool(schemas),
        schemas=schemas,
    )


def set_variable(fields: Fields) -> Iterator[Operation]:
    """SET and RESET."""
    kind = fields.get("kind")
    if kind == "VAR_RESET_ALL":
        yield op.SetVariable("all", None)
    elif kind in {"VAR_SET_VALUE", "VAR_SET_DEFAULT", "VAR_RESET"}:
        values = [_text(node) for node in fields.get("args", ())]
        value = ", ".join(values) if kind == "VAR_SET_VALUE" else None
        yield op.SetVariable(fields.get("name", "").lower(), value, local=fields.get("is_local", False))
    else:
        yield op.Other("VariableSetStmt")


def discard(fields: Fields) -> Iterator[Operation]:
    """DISCARD ALL resets every setting."""
    is_all = fields.get("target") == "DISCARD_ALL"
    yield op.SetVariable("all", None) if is_all else op.Other("DiscardStmt")


def set_constraints(fields: Fields) -> Iterator[Operation]:
    names = tuple(name.name for name in _relations(fields, "constraints"))
    yield op.SetConstraints(names, fields.get("deferred", False))


def transaction(fields: Fields) -> Iterator[Operation]:
    action = fields.get("kind", "").removeprefix("TRANS_STMT_").lower().replace("_", " ")
    yield op.TransactionControl(action)


def do_block(fields: Fields) -> Iterator[Operation]:
    options = {
        node["DefElem"].get("defname"): node["DefElem"].get("arg", {}) for node in fields.get("args", ())
    }
    yield op.DoBlock(options.get("language", {}).get("String", {}).get("sval", "plpgsql"))


def call(fields: Fields) -> Iterator[Operation]:
    """CALL of a procedure."""
    yield op.Call(".".join(words(fields.get("funccall", {}).get("funcname", ()))))


def execute(fields: Fields) -> Iterator[Operation]:
    """EXECUTE of a prepared statement."""
    yield op.Call(fields.get("name", ""))


def _results(select: Fields) -> tuple[str, ...]:
    """The names of a query's columns, if each is written down."""
    while "larg" in select:
        select = select["larg"]
    targets = [node.get("ResTarget", {}) for node in select.get("targetList", ())]
    names = [each.get("name") or column(each.get("val", {}).get("ColumnRef", {})) for each in targets]
    return tuple(names) if all(names) else ()


def _relations(fields: Fields, key: str) -> tuple[Name, ...]:
    return tuple(relation(node["RangeVar"]) for node in fields.get(key, ()) if "RangeVar" in node)


def _index_columns(fields: Fields, key: str) -> tuple[str, ...]:
    return tuple(node.get("IndexElem", {}).get("name", "") for node in fields.get(key, ()))


def _text(node: Fields) -> str:
    """A SET's value: a string, a word, a number, or ``interval`` of one."""
    constant = node.get("A_Const", {})
    for kind in ("sval", "fval", "ival", "boolval"):
        if kind in constant:
            value = constant[kind].get(kind, 0)
            return str(value) if kind != "boolval" else ("on" if value else "off")
    if "ColumnRef" in node:
        return column(node["ColumnRef"])
    return expression(node).sql
