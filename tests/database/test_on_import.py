"""Modules are changed when they are imported, and imported by nobody but who wants them."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

import pytest

from dbctl.database.on_import import whenever_imported


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that nobody has imported yet; its name."""
    name = f"door_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("def connect():\n    return 'open'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def shut(module):
    module.connect = lambda: "shut"


def test_a_module_is_changed_when_it_is_imported_and_not_before(module):
    with whenever_imported({module: shut}):
        assert module not in sys.modules
        assert importlib.import_module(module).connect() == "shut"


def test_a_module_that_is_there_already_is_changed_at_once(module):
    found = importlib.import_module(module)
    with whenever_imported({module: shut}):
        assert found.connect() == "shut"


def test_afterwards_nothing_is_awaited_any_more(module):
    before = list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), whenever_imported({module: shut}):
        raise ZeroDivisionError
    assert sys.meta_path == before
    assert importlib.import_module(module).connect() == "open"


def test_a_module_that_nobody_has_is_missing_as_ever(module):
    with whenever_imported({"nowhere_to_be_found": shut}), pytest.raises(ModuleNotFoundError):
        importlib.import_module("nowhere_to_be_found")


def test_the_source_of_a_changed_module_can_still_be_read(module):
    with whenever_imported({module: lambda _: None}):
        found = importlib.import_module(module)
    assert "return 'open'" in inspect.getsource(found)
    loader: Any = found.__loader__
    assert loader.get_source(module).startswith("def connect")
