"""Reads revision files from their syntax tree: nothing of the project is imported, nor Alembic."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dbctl.errors import SettingsError
from dbctl.migrate.graph import Graph
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project

_FIELDS = ("revision", "down_revision", "depends_on", "branch_labels")
# Alembic's own rule for what is a revision file, and its name for those of Alembic 0.1.
_FILE = re.compile(r"(?!\.#|__init__).*\.py$")
_LEGACY_ID = re.compile(r"([a-f0-9]+)\.py$")


def read_graph(project: Project, locations: Iterable[Path] | None = None) -> Graph:
    """The project's revisions and how they hang together.

    ``locations`` are for a project whose env.py sets them itself. Raises SettingsError: no revision, a file
    that does not parse, an id used twice, a down revision that is not there, a cycle.
    """
    folders = tuple(project.version_locations if locations is None else locations)
    graph = Graph(read_revision(file) for file in revision_files(folders, recursive=project.recursive))
    if not graph.revisions:
        raise no_revisions(folders)
    return graph


def no_revisions(folders: Iterable[Path]) -> SettingsError:
    """The error of a project without a single revision."""
    return SettingsError(
        "no revision found",
        why=f"looked in {', '.join(str(folder) for folder in folders)}",
        hint="`dbctl migrate new MESSAGE` writes the first; or mend version_locations",
    )


def read_revision(file: Path) -> Revision:
    """One revision file. Raises SettingsError, which names it."""
    return parse_revision(file.read_bytes(), file)


def parse_revision(source: bytes, file: Path) -> Revision:
    """The revision that ``source``, some version of ``file``, describes. Raises SettingsError."""
    try:
        tree = ast.parse(source, filename=str(file))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SettingsError(f"{file} does not parse{line}", why=reason, hint="mend that line") from None
    values = {name: _literal(value, name, file) for name, value in _assignments(tree)}
    return Revision(
        id=values.get("revision") or _legacy_id(file),
        down_revisions=_words(values.get("down_revision")),
        depends_on=_words(values.get("depends_on")),
        branch_labels=_words(values.get("branch_labels")),
        message=_first_line(ast.get_docstring(tree)),
        path=file,
    )


def revision_files(folders: Iterable[Path], *, recursive: bool) -> Iterator[Path]:
    """The revision files of ``folders``, each once, by name."""
    seen: set[Path] = set()
    for folder in folders:
        for file in sorted(folder.rglob("*.py") if recursive else folder.glob("*.py")):
            real = file.resolve()
            if _FILE.match(file.name) and real not in seen and "__pycache__" not in file.parts:
                seen.add(real)
                yield file


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            pairs = [pair for target in statement.targets for pair in _pairs(target, statement.value)]
        elif isinstance(statement, ast.AnnAssign) and statement.value:
            pairs = [(statement.target, statement.value)]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Name) and target.id in _FIELDS:
                yield target.id, value


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What gets which value in ``a, b = 1, 2``."""
    if not isinstance(target, ast.Tuple | ast.List):
        return [(target, value)]
    if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(each, value) for each in target.elts]


def _literal(value: ast.expr, name: str, file: Path) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise SettingsError(
            f"{name} in {file}, line {value.lineno}, is computed",
            why="the graph is read without running the file",
            hint="write it as a plain text or a tuple of texts",
        ) from None


def _legacy_id(file: Path) -> str:
    match = _LEGACY_ID.match(file.name)
    if match is None:
        raise SettingsError(
            f"{file} has no revision id", hint='declare revision = "…" in it, or move it out of the folder'
        )
    return match[1]


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else tuple(value or ())


def _first_line(docstring: str | None) -> str:
    return next((line.strip() for line in (docstring or "").splitlines() if line.strip()), "")
