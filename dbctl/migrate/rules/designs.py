"""What is better decided otherwise while a table is new: types, the width of its key, the length of a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.columns import added
from dbctl.migrate.rules.created import with_types, with_wide_key
from dbctl.migrate.rules.facts import operations, sql_of
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule, statement_rule
from dbctl.postgres.identifiers import NAME_BYTES
from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql.operations import AddColumn, Column, CreateTable

_BETTER = {"timestamp": "timestamptz", "bpchar": "text"}
_NARROW = {"serial", "int4"}
# Sixteen bits count to 32,767 only; as a key that nobody counts they are a choice.
_COUNTING = {"serial", "smallserial"}
_NAMING = (
    op.CreateTable,
    op.AddColumn,
    op.AddConstraint,
    op.CreateIndex,
    op.Rename,
    op.CreateView,
    op.CreateMaterializedView,
    op.CreateTrigger,
    op.CreatePolicy,
    op.CreateSequence,
    op.CreateEnum,
)
# Strings and comments are passed over, so that what is left are words.
_WORDS = re.compile(
    r"""'(?:[^']|'')*' | (?P<tag>\$\w*\$).*?(?P=tag) | --[^\n]* | /\*.*?\*/
    | "(?P<quoted>(?:[^"]|"")+)" | (?P<plain>[^\W\d][\w$]*)""",
    re.VERBOSE | re.DOTALL,
)

STYLE_TYPES = hazard(
    Hazard(
        id="style-types",
        level=Level.NOTICE,
        effect="style",
        why=(
            "char(n) pads with blanks that comparisons ignore; timestamp without a time zone means another moment "
            "in each session's zone. text and timestamptz do neither."
        ),
        safe=('op.execute("""ALTER TABLE {table} ADD COLUMN {column} {better}""")',),
    )
)
INT_PK = hazard(
    Hazard(
        id="int-pk",
        level=Level.CAUTION,
        effect="failing",
        why=(
            "A 32-bit key ends at 2,147,483,647: every INSERT fails then, and to widen it the whole table is "
            "written anew. bigint costs four bytes a row."
        ),
        safe=(
            'op.create_table("{table}", sa.Column("{column}", sa.BigInteger, sa.Identity(), primary_key=True))',
        ),
    )
)
IDENTIFIER_TOO_LONG = hazard(
    Hazard(
        id="identifier-too-long",
        level=Level.CAUTION,
        effect="failing",
        why=(
            f"PostgreSQL silently cuts a name to {NAME_BYTES} bytes: the next statement that uses the full name "
            "may not find it, and two long names can become the same."
        ),
        safe=("# {name} becomes {cut}: choose a shorter name",),
    )
)


@rule(STYLE_TYPES, CreateTable, AddColumn)
def style_types(operation: CreateTable | AddColumn, scene: Scene) -> Iterator[Hit]:
    """char(n) and timestamp without time zone, in columns that are new."""
    columns = list(_new_columns(operation, scene))
    found = [column for column in columns if _is_poor(column)]
    if found:
        first = found[0]
        names = {"column": first.name, "better": _BETTER[first.type.name], "table": str(operation.table)}
        why = f"It is so for {', '.join(column.name for column in found)}."
        better = {column.name: _BETTER[column.type.name] for column in found}
        fix = with_types(sql_of(operation, scene), better) if isinstance(operation, CreateTable) else ""
        yield Hit((_shown(operation),), names, why, fix=fix)


@rule(INT_PK, CreateTable)
def int_pk(operation: CreateTable, scene: Scene) -> Iterator[Hit]:
    """A number of 32 bits or fewer as a new table's only key, or counting in a new table."""
    if scene.table(operation.table) is not None or operation.table.temporary:
        return
    key = _key(operation)
    for column in operation.columns:
        counts = column.type.name in _COUNTING or (column.identity and column.type.name in {*_NARROW, "int2"})
        is_key = key == (column.name,) and column.type.name in _NARROW and not _refers(operation, column)
        if (counts or is_key) and not column.type.is_array:
            fix = with_wide_key(sql_of(operation, scene), column.name)
            names = {"table": operation.table.name, "column": column.name}
            yield Hit((_shown(operation),), names, fix=fix)


@statement_rule(IDENTIFIER_TOO_LONG)
def identifier_too_long(scene: Scene) -> Iterator[Hit]:
    """A word that the parser has cut, in a statement that gives a name."""
    texts = (scene.statement.sql, *(hidden.sql for hidden in scene.statement.hidden))
    if all(len(text) <= NAME_BYTES for text in texts):
        return
    if any(isinstance(operation, _NAMING) for operation in operations(scene.statement)):
        for name in dict.fromkeys(name for text in texts for name in _too_long(text)):
            cut = name.encode()[:NAME_BYTES].decode(errors="ignore")
            tables = tuple(table.relation.shown for table in scene.statement.before.values())[:1]
            yield Hit(tables, {"name": name, "cut": cut}, f"{name} becomes {cut}.")


def _new_columns(operation: CreateTable | AddColumn, scene: Scene) -> Iterable[Column]:
    if operation.table.temporary:
        return ()
    if isinstance(operation, AddColumn):
        is_real = added(operation, scene) is not None or scene.table(operation.table) is None
        return (operation.column,) if is_real else ()
    return operation.columns if scene.table(operation.table) is None else ()


def _is_poor(column: Column) -> bool:
    # char(1) has nothing to pad.
    return column.type.name == "timestamp" or (column.type.name == "bpchar" and column.type.modifiers > (1,))


def _key(operation: CreateTable) -> tuple[str, ...]:
    """The columns of the primary key."""
    own = (constraint for column in operation.columns for constraint in column.constraints)
    keys = (each.columns for each in (*own, *operation.constraints) if each.kind == "primary key")
    return next(keys, ())


def _refers(operation: CreateTable, column: Column) -> bool:
    """Whether the column's type is that of another table's key."""
    constraints = (*column.constraints, *operation.constraints)
    return any(each.kind == "foreign key" and column.name in each.columns for each in constraints)


def _too_long(sql: str) -> Iterator[str]:
    for match in _WORDS.finditer(sql):
        quoted = match["quoted"]
        name = quoted.replace('""', '"') if quoted else match["plain"]
        if name and len(name.encode()) > NAME_BYTES:
            yield name


def _shown(operation: CreateTable | AddColumn) -> str:
    return str(operation.table).removeprefix("public.")
