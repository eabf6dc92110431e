"""The ini is read as Alembic reads it, and what is wrong with it is named."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dbctl.errors import SettingsError
from dbctl.migrate.project import read_project


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alembic").mkdir()
    return tmp_path


def write(folder, *lines, section="alembic", name="alembic.ini"):
    file = folder / name
    file.write_text("\n".join((f"[{section}]", *lines)))
    return file


@pytest.mark.parametrize(
    "lines",
    [
        ["script_location = alembic"],
        ["script_location = %(here)s/alembic"],
        ["script_location = alembic", "path_separator = os", "version_locations = %(here)s/a:%(here)s/b"],
        ["script_location = alembic", "path_separator = newline", "version_locations = a b", "  c"],
        ["script_location = alembic", "path_separator = space", "version_locations = a b"],
        ["script_location = alembic", "recursive_version_locations = true"],
    ],
)
def test_locations_are_those_that_alembic_finds(folder, lines):
    ini = write(folder, *lines)
    theirs = ScriptDirectory.from_config(Config(str(ini)))
    ours = read_project(ini)
    assert str(ours.script_location.resolve()) == str((folder / theirs.dir).resolve())
    assert list(ours.version_locations) == list(theirs._version_locations)
    assert ours.recursive == theirs.recursive_version_locations


def test_locations_without_a_separator_are_split_as_in_old_projects(folder):
    project = read_project(write(folder, "script_location = alembic", "version_locations = a, b c"))
    assert [path.name for path in project.version_locations] == ["a", "b", "c"]


def test_a_package_is_found_without_importing_it(folder):
    (folder / "shop" / "db" / "migrations").mkdir(parents=True)
    (folder / "shop" / "__init__.py").write_text("raise RuntimeError('imported')")
    ini = write(folder, "script_location = shop.db:migrations", "prepend_sys_path = .", "path_separator = os")
    assert read_project(ini).script_location == folder / "shop" / "db" / "migrations"


def test_relative_paths_also_work_from_another_folder(folder, monkeypatch):
    ini = write(folder, "script_location = alembic")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert read_project(ini).script_location == folder / "alembic"


def test_pyproject_fills_what_the_ini_leaves_open(folder):
    (folder / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/alembic"\n')
    ini = write(folder, "sqlalchemy.url = postgresql+asyncpg://ada:pa%ss@host/shop")
    project = read_project(ini)
    assert project.script_location == folder / "alembic"
    assert project.driver == "postgresql+asyncpg"
    assert "pa%ss" not in repr(project)


def test_pyproject_alone_is_enough(folder):
    text = '[tool.alembic]\nscript_location = "alembic"\nversion_locations = ["%(here)s/a", "b"]\n'
    (folder / "pyproject.toml").write_text(text)
    project = read_project(folder / "alembic.ini")
    assert project.version_locations == (folder / "a", folder / "b")
    assert read_project(folder / "pyproject.toml").version_locations == project.version_locations


def test_another_section_is_read_by_name(folder):
    ini = write(folder, "script_location = alembic", section="second")
    assert read_project(ini, "second").script_location == folder / "alembic"
    with pytest.raises(SettingsError, match="has no script_location"):
        read_project(ini)


def test_a_missing_ini_is_named_with_the_option_that_helps(folder):
    with pytest.raises(SettingsError) as caught:
        read_project(folder / "deep" / "alembic.ini")
    assert str(folder / "deep") in caught.value.message
    assert "--config" in caught.value.hint


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["script_location = nowhere"], "no folder"),
        (["script_location = %(nothing)s/x"], "bad value for script_location"),
        (["script_location = 100%"], "bad value for script_location"),
        (["script_location = alembic", "no equals sign"], "line 3"),
        (
            ["script_location = alembic", "version_locations = a", "path_separator = comma"],
            "bad value for path_separator",
        ),
    ],
)
def test_a_broken_ini_is_named(folder, lines, words):
    with pytest.raises(SettingsError, match=words):
        read_project(write(folder, *lines))


def test_broken_toml_is_named(folder):
    (folder / "pyproject.toml").write_text("[tool.alembic\n")
    with pytest.raises(SettingsError, match=r"pyproject\.toml can't be read"):
        read_project(folder / "pyproject.toml")
