"""Whether the project's models and the schema that its revisions make are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from dbctl.errors import UsageError
from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.stage import Stage
from dbctl.migrate.rules.graph import MODEL_DRIFT, at_revision
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.trace.run import inspect

_OURS = "dbctl_scratch"
_NOT_COMPARED = "--models: env.py gives no target_metadata with a table in it, so nothing was compared"
_SIDES = {
    "add": "the models have {what}, the revisions do not make it",
    "remove": "the revisions make {what}, the models do not have it",
}
# What Alembic calls them: modify_nullable, modify_type …
_CHANGED = {
    "nullable": "is",
    "type": "is of type",
    "default": "has the server default",
    "comment": "has the comment",
}


async def drift_findings(stage: Stage, graph: Graph, levels: Levels, models: str = "") -> tuple[Finding, ...]:
    """A finding for each difference that Alembic's autogenerate would write down, at the project's heads.

    ``models`` is where the models are (``package.module:Base``, or a MetaData); without it, env.py says so.
    Raises UsageError where they are not there.
    """
    await stage.replay(graph.revisions, lambda _: None)
    differences: list[Any] = []
    compared = False

    def look(context: MigrationContext) -> None:
        nonlocal compared
        metadata = load_models(models) if models else context.opts["target_metadata"]
        if any(
            one.tables
            for one in (metadata if isinstance(metadata, Sequence) else [metadata])
            if one is not None
        ):
            compared = True
            differences.extend(compare_metadata(context, metadata))

    await inspect(stage.project, stage.scratch, look, options=stage.options)
    if not compared:
        stage.scratch.notes += (_NOT_COMPARED,)
    head = next(one for one in reversed(graph.revisions) if one.is_head)
    return tuple(
        replace(found, file=stage.project.env_py, tables=(table,) if table else ())
        for table, words in dict.fromkeys(_told(differences))
        for found in at_revision(MODEL_DRIFT, head, f"Here {words}.", levels)
    )


def load_models(name: str) -> Any:
    """The metadata of ``package.module:Base``. Raises UsageError."""
    module, colon, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--models {name!r} names nothing",
            why=f"{type(error).__name__}: {error}",
            hint=_where_to_look(error, is_complete=bool(colon)),
        ) from None
    return getattr(found, "metadata", found)


def _where_to_look(error: Exception, *, is_complete: bool) -> str:
    if not is_complete:
        return "write package.module:Base"
    if isinstance(error, AttributeError):
        return "name the declarative base, or the MetaData, of that module"
    return "is it where env.py would find it (prepend_sys_path)?"


def _told(differences: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """The table and the difference in words; what is changed in a column comes as a list of its own."""
    for difference in differences:
        for operation, *given in difference if isinstance(difference, list) else [difference]:
            if operation.startswith("modify_"):
                yield _modified(operation.removeprefix("modify_"), *given)
            elif _OURS not in (getattr(given[0], "schema", None), given[0]):
                yield _one_sided(operation, *given)


def _modified(what: str, schema: str | None, table: str, column: str, *values: Any) -> tuple[str, str]:
    _, made, wanted = values
    name = f"{schema}.{table}" if schema else table
    verb = _CHANGED.get(what, f"has {what}")
    if what == "nullable":
        made, wanted = ("NULL" if allowed else "NOT NULL" for allowed in (made, wanted))
    return name, f"{name}.{column} {verb} {_plain(wanted)} in the models, {_plain(made)} by the revisions"


def _one_sided(operation: str, *given: Any) -> tuple[str, str]:
    side, _, kind = operation.partition("_")
    item = given[-1]
    table = item if kind.startswith("table") else getattr(item, "table", None)
    name = str(getattr(table, "fullname", None) or (given[1] if len(given) > 1 else ""))
    what = (
        f"{kind.replace('_', ' ').replace('fk', 'foreign key')} {getattr(item, 'name', None) or ''}".strip()
    )
    on = "" if kind == "table" or not name else f" of {name}"
    return name, _SIDES.get(side, "{what} differs").format(what=what + on)


def _plain(value: Any) -> str:
    """A type, a default or a flag as text."""
    return str(getattr(getattr(value, "arg", value), "text", getattr(value, "arg", value)))
