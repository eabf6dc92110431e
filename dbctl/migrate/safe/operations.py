"""Operations that Alembic lacks or, in its older versions, can't write down; and how they are written."""

from __future__ import annotations

import re
from textwrap import indent, wrap
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op_text, renderers
from alembic.ddl.impl import DefaultImpl
from alembic.operations.ops import (
    CreateCheckConstraintOp,
    CreateForeignKeyOp,
    ExecuteSQLOp,
    MigrateOperation,
    OpContainer,
)
from sqlalchemy import ClauseElement
from sqlalchemy.sql.elements import TextClause

# What text() would take for a parameter.
_COLON = re.compile(r"(?<![:\w\\]):(?=\w)")
_NOT_VALID = "postgresql_not_valid"
_WIDTH = 95


class AutocommitOp(OpContainer):
    """Operations that may not run in a transaction."""


class CommentOp(MigrateOperation):
    """Words for whoever reads the file."""

    def __init__(self, words: str) -> None:
        self.words = words


class RefuseOp(MigrateOperation):
    """Ends the revision with an error if ``query`` has a row."""

    def __init__(self, query: str, complaint: str) -> None:
        self.query = query
        self.complaint = complaint


class AddForeignKeyOp(CreateForeignKeyOp):
    """A foreign key NOT VALID: new rows are checked, those that are there are not."""


class AddCheckOp(CreateCheckConstraintOp):
    """A check NOT VALID, likewise."""


def foreign_key_not_valid(operation: CreateForeignKeyOp) -> AddForeignKeyOp:
    """The same foreign key, NOT VALID."""
    return AddForeignKeyOp(
        operation.constraint_name,
        operation.source_table,
        operation.referent_table,
        operation.local_cols,
        operation.remote_cols,
        **operation.kw,
    )


def sql(statement: str) -> ExecuteSQLOp:
    """A statement as it is, colons included."""
    return ExecuteSQLOp(as_text(statement))


def as_text(statement: str) -> str:
    """SQL as text() wants it, which `op.execute` wraps it in."""
    return _COLON.sub(r"\:", statement)


def condition_sql(condition: Any, impl: DefaultImpl) -> str:
    """A condition in the form that text() takes."""
    if isinstance(condition, TextClause):
        return condition.text
    if not isinstance(condition, ClauseElement):
        return str(condition)
    rendered = impl.render_ddl_sql_expr(condition)
    # Doubled for a driver that formats strings; text() will do it again.
    doubled = getattr(impl.dialect.identifier_preparer, "_double_percents", False)
    return as_text(rendered.replace("%%", "%") if doubled else rendered)


@renderers.dispatch_for(AutocommitOp)
def _render_autocommit(context: AutogenContext, operation: AutocommitOp) -> str:
    body = "\n".join(render_op_text(context, each) for each in operation.ops)
    return f"with {_op(context)}get_context().autocommit_block():\n{indent(body, '    ')}"


@renderers.dispatch_for(CommentOp)
def _render_comment(_context: AutogenContext, operation: CommentOp) -> list[str]:
    return wrap(operation.words, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


@renderers.dispatch_for(RefuseOp)
def _render_refuse(context: AutogenContext, operation: RefuseOp) -> str:
    op, sa = _op(context), context.opts["sqlalchemy_module_prefix"] or ""
    return (
        # There is nobody to ask while SQL is only printed.
        f"if not {op}get_context().as_sql and {op}get_bind().execute(\n"
        f"    {sa}text({as_text(operation.query)!r})\n"
        f").first():\n"
        f"    raise RuntimeError({operation.complaint!r})"
    )


@renderers.dispatch_for(AddForeignKeyOp)
def _render_foreign_key(context: AutogenContext, operation: AddForeignKeyOp) -> str:
    places: list[Any] = [operation.source_table, operation.referent_table]
    columns = [[str(column) for column in side] for side in (operation.local_cols, operation.remote_cols)]
    words = {name: value for name, value in operation.kw.items() if value is not None and name != "use_alter"}
    arguments = [_name(context, operation.constraint_name), *(repr(str(place)) for place in places)]
    arguments += [repr(side) for side in columns]
    return _call(context, "create_foreign_key", arguments, words)


@renderers.dispatch_for(AddCheckOp)
def _render_check(context: AutogenContext, operation: AddCheckOp) -> str:
    words: dict[str, Any] = {"schema": operation.schema} if operation.schema else {}
    arguments = [
        _name(context, operation.constraint_name),
        repr(str(operation.table_name)),
        repr(condition_sql(operation.condition, context.migration_context.impl)),
    ]
    return _call(context, "create_check_constraint", arguments, words)


def _call(context: AutogenContext, function: str, arguments: list[str], words: dict[str, Any]) -> str:
    words = {name: str(value) if isinstance(value, str) else value for name, value in words.items()}
    named = [f"{name}={value!r}" for name, value in {**words, _NOT_VALID: True}.items()]
    return f"{_op(context)}{function}({', '.join([*arguments, *named])})"


def _name(context: AutogenContext, name: Any) -> str:
    """Final, so that no naming convention changes it again."""
    return f"{_op(context)}f({str(name)!r})"


def _op(context: AutogenContext) -> str:
    return context.opts["alembic_module_prefix"] or ""
