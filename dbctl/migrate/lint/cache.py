"""The revisions before the range on scratch: from the template that holds most of them, the rest replayed."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dbctl import __version__
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.postgres.templates import Templates

_PACKAGES = ("alembic", "sqlalchemy")
_LIBRARIES = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parents[2]),
)
_MODULES, _COUNT = "modules", "revisions"


@dataclass(frozen=True, slots=True)
class Found:
    """A template and how many of the history's revisions it holds, the first ones."""

    key: str
    revisions: int


class Cache:
    """The templates of a project: one for each beginning of its history.

    A key depends on all that a replay depends on: the server, our libraries, the project's configuration,
    env.py, whatever else lies beside it, and the revisions in their order. What it imports from elsewhere
    is noted with the template, and compared.
    """

    def __init__(self, project: Project, revisions: Collection[Revision], told: str) -> None:
        self._templates = Templates()
        self._start = _hash_of_surroundings(project, revisions, told)

    def longest(self, history: Sequence[Revision]) -> Found | None:
        """The template that holds most of ``history``."""
        there = self._templates.keys()
        keys = list(self._keys(history)) if there else []
        for number, key in reversed(list(enumerate(keys, 1))):
            if key in there and self._is_current(key):
                return Found(key, number)
        return None

    @contextmanager
    def borrowed(self, found: Found | None) -> Iterator[Path | None]:
        """The data folder of a template, which nobody removes meanwhile; None where there is none, or a damaged one."""
        if found is None:
            yield None
            return
        with self._templates.borrowed(found.key) as template:
            yield template.data if template else None

    def discard(self, found: Found) -> None:
        """Throw a template away that is of no use."""
        self._templates.discard(found.key)

    def keep(self, history: Sequence[Revision], data: Path) -> None:
        """Keep the data folder of a quiet server on which exactly ``history`` was run."""
        *_, key = self._keys(history)
        facts = {_MODULES: json.dumps(_digests(_imported())), _COUNT: str(len(history))}
        self._templates.keep(key, data, facts)

    def _keys(self, history: Sequence[Revision]) -> Iterator[str]:
        """The key of each beginning of ``history``."""
        chain = self._start.copy()
        for revision in history:
            _add(chain, revision.id.encode(), revision.path.read_bytes())
            yield chain.hexdigest()

    def _is_current(self, key: str) -> bool:
        facts = self._templates.facts(key)
        if facts is None:
            return False
        noted: dict[str, str] = json.loads(facts[_MODULES])
        return _digests(noted) == noted


def _hash_of_surroundings(project: Project, revisions: Collection[Revision], told: str) -> hashlib.blake2b:
    """What is the same for each revision of a replay. ``revisions`` are all of the project's."""
    chain = hashlib.blake2b(digest_size=12)
    words = [told, __version__, *map(version, _PACKAGES), str(project.script_location), project.section]
    _add(chain, json.dumps([*words, *project.x_arguments]).encode())
    for config in sorted({project.config, project.config.with_name("pyproject.toml")}):
        _add(chain, config.read_bytes() if config.is_file() else b"")
    own = {revision.path.resolve() for revision in revisions}
    for file in sorted(_files({project.script_location, *project.version_locations})):
        if file.resolve() not in own:
            _add(chain, str(file).encode(), file.read_bytes())
    return chain


def _add(chain: hashlib.blake2b, *parts: bytes) -> None:
    """Add parts so that no other ones give the same hash."""
    for part in parts:
        chain.update(len(part).to_bytes(8, "big") + part)


def _files(folders: Collection[Path]) -> set[Path]:
    """Whatever a revision could read beside it: SQL files, helpers, env.py itself."""
    return {
        file
        for folder in folders
        for file in folder.rglob("*")
        if "__pycache__" not in file.parts and file.is_file()
    }


def _imported() -> Iterator[str]:
    """The files of the modules that are neither ours nor of an installed library: those of the project."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and not str(file).startswith(_LIBRARIES):
            yield str(file)


def _digests(files: Iterable[str]) -> dict[str, str]:
    return {file: _digest(Path(file)) for file in files}


def _digest(file: Path) -> str:
    with suppress(OSError):
        return hashlib.blake2b(file.read_bytes(), digest_size=12).hexdigest()
    return ""
