"""A neutral env.py, for projects whose own can't run here: what it knows of the project is read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from alembic import context
from sqlalchemy import MetaData, NullPool, create_engine

from dbctl.database import ConnInfo
from dbctl.migrate.project import Project

_KINDS = {"ix", "uq", "ck", "fk", "pk"}
_LEFT_OUT = {"node_modules", "site-packages", "__pycache__"}
_MOST_FILES = 5000
NO_CONVENTION = "--isolated: no naming convention was found, so constraints without a name get PostgreSQL's"


def run_neutral(addresses: Sequence[tuple[str, ConnInfo]], convention: dict[str, str] | None) -> None:
    """What an env.py does, for one database, or for several whose engines have names."""
    metadata = MetaData(naming_convention=convention)
    for name, address in addresses:
        engine = create_engine(address.psycopg2_url(), poolclass=NullPool)
        with engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=metadata,
                upgrade_token=f"{name}_upgrades",
                downgrade_token=f"{name}_downgrades",
            )
            with context.begin_transaction():
                context.run_migrations(**({"engine_name": name} if name else {}))


def find_convention(project: Project) -> dict[str, str] | None:
    """The first literal naming convention in the project's own files; None: none was found."""
    for number, file in enumerate(_sources(project)):
        if number > _MOST_FILES:
            return None
        source = file.read_bytes()
        if b"naming_convention" in source and (found := _literal(source)):
            return found
    return None


def _sources(project: Project) -> Iterator[Path]:
    yield project.env_py
    waiting = [project.config.parent]
    while waiting:
        for entry in sorted(waiting.pop().iterdir()):
            if entry.suffix == ".py" and entry.is_file():
                yield entry
            elif entry.is_dir() and not entry.is_symlink() and not _is_foreign(entry):
                waiting.append(entry)


def _is_foreign(folder: Path) -> bool:
    """Whether it holds other people's files: a virtual environment, a cache."""
    return folder.name.startswith(".") or folder.name in _LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _literal(source: bytes) -> dict[str, str] | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and (found := _evaluated(node)):
            return found
    return None


def _evaluated(node: ast.Dict) -> dict[str, str] | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    names = set(value)
    texts = all(isinstance(text, str) for text in value.values())
    return value if names & _KINDS and names <= _KINDS and texts else None
