"""Does something to modules as soon as they are there, and imports none of them for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Change = Callable[[ModuleType], None]


@contextmanager
def whenever_imported(changes: Mapping[str, Change]) -> Iterator[None]:
    """Call each change with the module of its name: now, if it is loaded, else when it is, while this lasts."""
    finder = _Finder(changes)
    sys.meta_path.insert(0, finder)
    try:
        for name, change in changes.items():
            if name in sys.modules:
                change(sys.modules[name])
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds the awaited modules as the others do, and gives them a loader that tells."""

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = changes

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._changes:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec and spec.loader:
                spec.loader = _Loader(spec.loader, self._changes[name])
                return spec
        return None


class _Loader(Loader):
    """Another loader, and what is to be done after it; whatever else is asked, the other one answers."""

    def __init__(self, loader: Loader, change: Change) -> None:
        self._loader = loader
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)
