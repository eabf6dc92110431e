"""env.py runs unchanged, finds the address in memory, and keeps out of our output."""

from __future__ import annotations

import logging.config
import sys
import threading
from dataclasses import replace

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from dbctl.database import ConnInfo
from dbctl.errors import SettingsError
from dbctl.migrate.environment import driver_url, make_environment
from dbctl.migrate.project import read_project
from dbctl.migrate.runner import up
from tests.migrate.conftest import PROJECTS, quiet, tables

AWKWARD = "p%ss:w@rd/%(here)s"
ADDRESS = ConnInfo({"host": "db", "port": "5433", "user": "ada", "dbname": "shop"}, AWKWARD)


@pytest.mark.parametrize("name", ["sync_template", "async_template"])
async def test_a_password_full_of_percent_signs_arrives(site, name):
    here = site(name)
    here = replace(here, address=here.address.with_password(AWKWARD))
    config = make_environment(here.project, here.address).config
    assert make_url(config.get_main_option("sqlalchemy.url", "")).password == AWKWARD
    await up(here, progress=quiet)
    assert tables(here.address) == {"a", "b"}


async def test_prints_go_to_stderr_without_the_password(site, capsys):
    here = site("prints")
    await up(replace(here, address=here.address.with_password("s3cr%t/word")), progress=quiet)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "env.py prints postgresql+psycopg2://postgres:****@" in printed.err
    assert "a revision prints" in printed.err
    assert "s3cr" not in printed.err


async def test_the_logging_configuration_of_env_py_waits(site, capsys):
    ours = logging.getLogger("dbctl.test")
    before = logging.getLogger().handlers[:], logging.config.fileConfig, sys.stdout
    await up(site("prints"), progress=quiet)
    assert (logging.getLogger().handlers, logging.config.fileConfig, sys.stdout) == before
    assert not ours.disabled
    assert "LOGGED" not in "".join(capsys.readouterr())


WRAPPERS = """
import threading
def in_a_thread(run):
    thread = threading.Thread(target=run, name="the application's")
    thread.start()
    thread.join()
"""


async def test_env_py_runs_in_what_the_project_wants(site, tmp_path, monkeypatch):
    (tmp_path / "wrappers_of_ours.py").write_text(WRAPPERS)
    monkeypatch.syspath_prepend(tmp_path)
    here = site("sync_template")
    names = []
    unwrapped = ScriptDirectory.run_env

    def run_env(script):
        names.append(threading.current_thread().name)
        unwrapped(script)

    monkeypatch.setattr(ScriptDirectory, "run_env", run_env)
    await up(
        replace(here, project=replace(here.project, wrapper="wrappers_of_ours:in_a_thread")), progress=quiet
    )
    assert names == ["the application's"]
    assert tables(here.address) == {"a", "b"}


async def test_a_wrapper_that_is_not_there_is_named(site):
    here = site("sync_template")
    with pytest.raises(SettingsError, match=r"migrate\.wrapper 'nowhere:at_all'"):
        await up(replace(here, project=replace(here.project, wrapper="nowhere:at_all")), progress=quiet)


def test_the_driver_is_the_project_s_own_or_one_that_its_env_py_can_use(tmp_path):
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s\nsqlalchemy.url = postgresql+psycopg://x/y\n"
    )
    files = [
        tmp_path / "alembic.ini",
        *(PROJECTS / n / "alembic.ini" for n in ("sync_template", "async_template")),
    ]
    environments = [make_environment(read_project(file), ADDRESS) for file in files]
    urls = [environment.config.get_main_option("sqlalchemy.url", "") for environment in environments]
    assert [url.partition(":")[0] for url in urls] == [
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
    ]


def test_asyncpg_gets_hosts_and_tls_in_its_own_words():
    words = {**ADDRESS.keywords, "host": "one,two", "port": "5432,5433", "sslmode": "require"}
    url = driver_url(ConnInfo(words, "x"), "postgresql+asyncpg")
    arguments = url.get_dialect()().create_connect_args(url)[1]
    assert (arguments["host"], arguments["port"]) == (["one", "two"], [5432, 5433])
    assert (arguments["user"], arguments["database"], arguments["password"]) == ("ada", "shop", "x")
    assert "sslmode=require" in arguments["dsn"]
