"""What a revision's file shows by its syntax tree: a downgrade that is none, and one that loses data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, hazard
from dbctl.migrate.trace.model import RevisionTrace

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Calls = tuple[tuple[str, ast.Call], ...]
_DROPS = {"drop_table": "create_table", "drop_column": "add_column"}
_EMPTIES = re.compile(r"\s*(?:TRUNCATE\b|DELETE\s+FROM\s+[\w.\"]+\s*;?\s*$)", re.IGNORECASE)

IRREVERSIBLE = hazard(
    Hazard(
        id="irreversible",
        level=Level.NOTICE,
        effect="style",
        why="There is no way back from this revision: a failed release can't be undone by `dbctl migrate down`.",
        safe=(
            (
                "# Write a downgrade() that undoes the upgrade, or where nothing can, say so with a reason:\n"
                "# dbctl: accept irreversible because the old values are gone, and only a backup has them"
            ),
        ),
    )
)
LOSSY_DOWNGRADE = hazard(
    Hazard(
        id="lossy-downgrade",
        level=Level.NOTICE,
        effect="losing data",
        why="The downgrade removes data that the upgrade did not bring.",
        safe=('op.create_table("fresh", sa.Column("id", sa.BigInteger, primary_key=True))',),
    )
)


def judge_source(trace: RevisionTrace) -> Iterator[tuple[Hazard, Hit, int]]:
    """Hazard, hit and line of what the file itself shows; nothing where it can't be read or parsed."""
    try:
        tree = ast.parse(trace.path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    functions = {each.name: each for each in tree.body if isinstance(each, _Function)}
    upgrade, downgrade = functions.get("upgrade"), functions.get("downgrade")
    if upgrade is None or _is_empty(upgrade):
        return
    why = _no_way_back(downgrade)
    if why:
        yield IRREVERSIBLE, Hit(why=why), (downgrade or upgrade).lineno
    elif downgrade is not None:
        yield from _losses(upgrade, downgrade)


def way_back(path: Path) -> tuple[str, int]:
    """Why a revision's file shows no way back (empty where it shows one), and the line of its downgrade()."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return "", 1
    functions = {each.name: each for each in tree.body if isinstance(each, _Function)}
    downgrade = functions.get("downgrade")
    line = (downgrade or functions.get("upgrade") or ast.Pass(lineno=1)).lineno
    return _no_way_back(downgrade), line


def _no_way_back(downgrade: _Function | None) -> str:
    if downgrade is None:
        return "It has no downgrade()."
    if _is_empty(downgrade):
        return "Its downgrade() is empty."
    body = _work(downgrade)
    return "Its downgrade() raises an error." if isinstance(body[0], ast.Raise) else ""


def _is_empty(function: _Function) -> bool:
    return not _work(function)


def _work(function: _Function) -> list[ast.stmt]:
    """The statements that do something: no docstring, pass, ``…`` or bare return."""
    return [statement for statement in function.body if not _is_idle(statement)]


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    returns_nothing = isinstance(statement, ast.Return) and (
        statement.value is None or isinstance(statement.value, ast.Constant)
    )
    return isinstance(statement, ast.Pass) or returns_nothing


def _losses(upgrade: _Function, downgrade: _Function) -> Iterator[tuple[Hazard, Hit, int]]:
    there, back = _calls(upgrade), _calls(downgrade)
    made = {names for kind in _DROPS.values() for names in _named(there, kind)}
    raw = " ".join(text for text, _ in _texts(there)).lower()
    for drop, create in _DROPS.items():
        for (_, *names), line in _named(back, drop).items():
            if (create, *names) not in made and names[-1].lower() not in raw:
                what = f"column {'.'.join(names)}" if drop == "drop_column" else f"table {names[0]}"
                yield (
                    LOSSY_DOWNGRADE,
                    Hit((names[0],), why=f"It drops {what}, which upgrade() does not make."),
                    line,
                )
    for text, line in _texts(back):
        if _EMPTIES.match(text) and "insert" not in raw:
            yield LOSSY_DOWNGRADE, Hit(why=f"It runs {text.strip()}."), line


def _calls(function: _Function) -> _Calls:
    """The calls of something's attribute, such as ``op.add_column(…)``, with its name."""
    return tuple(
        (node.func.attr, node)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


def _named(calls: _Calls, name: str) -> dict[tuple[str, ...], int]:
    """Those of ``op.<name>`` whose names are plain texts: (name, table[, column]) and their lines."""
    wanted = 1 if name.endswith("_table") else 2
    found: dict[tuple[str, ...], int] = {}
    for called, node in calls:
        if called == name:
            words = [_word(argument) for argument in node.args[:wanted]]
            if len(words) == wanted and all(words):
                found[(name, *words)] = node.lineno
    return found


def _word(argument: ast.expr) -> str:
    """A text, or the name of a column object: ``sa.Column("name", …)``."""
    if isinstance(argument, ast.Call) and argument.args:
        return _word(argument.args[0])
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else ""


def _texts(calls: _Calls) -> Iterator[tuple[str, int]]:
    """The texts passed to ``execute``, straight or through text()."""
    for called, node in calls:
        word = _word(node.args[0]) if called == "execute" and node.args else ""
        if word:
            yield word, node.lineno
