"""House rules that a machine can hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.database import ROOT

FILES = sorted((ROOT / "dbctl").rglob("*.py"))
ROOMS = [file for file in FILES if file.relative_to(ROOT).parts[1] != "cli" and file.name != "__main__.py"]


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines(first: ast.stmt, last: ast.stmt) -> int:
    return (last.end_lineno or 0) - first.lineno + 1


def names(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    attributes = {
        f"{ast.unparse(node.value)}.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    return attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def short(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=short)
def test_files_and_functions_stay_small(file):
    assert len(file.read_text().splitlines()) <= 350
    assert [f.name for f in functions(file) if lines(f, f) > 50] == []


@pytest.mark.parametrize("file", [*ROOMS, *(ROOT / "dbctl/cli").glob("*.py")], ids=short)
def test_only_the_output_package_prints(file):
    # The guardian is a program of its own: it answers on its stdout.
    assert "print" not in names(file) or file.name == "guardian.py"


@pytest.mark.parametrize(
    "file",
    [f for f in ROOMS if f.parent.name in {"migrate", "users", "health", "activity", "pool", "backup"}],
    ids=short,
)
def test_a_room_reads_no_environment_and_never_exits(file):
    assert not names(file) & {"os.environ", "os.getenv", "sys.exit", "os._exit", "typer"}


@pytest.mark.parametrize("file", sorted((ROOT / "dbctl/cli").glob("*.py")), ids=short)
def test_a_command_is_thin(file):
    for function in functions(file):
        if any("command" in ast.unparse(decorator) for decorator in function.decorator_list):
            body = [node for node in function.body if not isinstance(node, ast.Expr | ast.ImportFrom)]
            assert not [node for node in body if isinstance(node, ast.Try)], function.name
            assert lines(function.body[1], function.body[-1]) <= 15, function.name
