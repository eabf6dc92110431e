"""One reading of a connection string, the same as libpq's own."""

from __future__ import annotations

import asyncio

import asyncpg
import psycopg2
import pytest

from dbctl.database.conninfo import parse_conninfo
from dbctl.errors import SettingsError
from tests.fixtures.cli import url_of


def parse(text="", **environ):
    return parse_conninfo(text, environ=environ)


@pytest.mark.parametrize(
    "tag", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+psycopg"]
)
def test_every_drivers_url_is_the_same_address(tag):
    conninfo = parse(f"{tag}://ada:p%40ss%25@db.example:6432/app?sslmode=require")
    assert dict(conninfo.keywords) == {
        "user": "ada",
        "host": "db.example",
        "port": "6432",
        "dbname": "app",
        "sslmode": "require",
    }
    assert conninfo.password == "p@ss%"


def test_a_keyword_string_and_sqlalchemys_ssl_are_read():
    assert parse("host=db dbname='my app' user=ada").database == "my app"
    assert parse("postgresql+asyncpg://db/app?ssl=require").keywords["sslmode"] == "require"


def test_libpq_variables_fill_what_the_string_leaves_open():
    conninfo = parse(
        "postgresql://db/", PGUSER="ada", PGDATABASE="app", PGPORT="6000", PGHOST="other", PGPASSWORD="x"
    )
    assert (conninfo.host, conninfo.port, conninfo.role, conninfo.database) == ("db", "6000", "ada", "app")
    assert conninfo.password == "x"


def test_what_is_given_empty_is_the_default_as_for_libpq():
    conninfo = parse("postgresql://ada@/?host=&port=", PGHOST="other", PGPORT="6000")
    assert (conninfo.port, conninfo.database) == ("5432", "ada")
    assert conninfo.host != "other"


def test_settings_stand_between_the_string_and_the_variables():
    conninfo = parse_conninfo(
        "postgresql://db/a", environ={"PGSSLMODE": "disable"}, settings={"sslmode": "verify-full"}
    )
    assert conninfo.keywords["sslmode"] == "verify-full"
    own = parse_conninfo("postgresql://db/a?sslmode=require", environ={}, settings={"sslmode": "verify-full"})
    assert own.keywords["sslmode"] == "require"


@pytest.mark.parametrize("how", ["variable", "string"])
def test_a_service_file_names_the_server(tmp_path, how):
    file = tmp_path / "services"
    file.write_text("# ours\n[staging]\nhost=db.staging\nport=6000\nuser=ada\ndbname=app\npassword=a%b\n")
    environ = {"PGSERVICEFILE": str(file)}
    conninfo = (
        parse(PGSERVICE="staging", **environ)
        if how == "variable"
        else parse("service=staging dbname=mine", **environ)
    )
    assert (conninfo.host, conninfo.port, conninfo.role) == ("db.staging", "6000", "ada")
    assert conninfo.database == ("app" if how == "variable" else "mine")
    assert conninfo.password == "a%b"


def test_a_missing_service_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(SettingsError, match="no service 'nope'"):
        parse("service=nope", PGSERVICEFILE=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "text",
    ["postgresql://ada:s3cret@[db/app", "host=db passwort=s3cret", "s3cret", "postgresql://db:s3cret/x"],
)
def test_a_broken_string_is_an_error_that_does_not_quote_a_password(text):
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_a_socket_path_over_the_systems_limit_is_said_before_connecting():
    folder = "/tmp/" + "x" * 100
    with pytest.raises(SettingsError, match="too long"):
        parse(f"host={folder}")


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_port_that_is_none_is_an_error(port):
    with pytest.raises(SettingsError, match="port"):
        parse(f"host=db port={port}")


def test_a_password_is_in_no_repr_and_no_text():
    conninfo = parse("postgresql://ada:s3cret@db/app")
    assert "s3cret" not in repr(conninfo) + str(conninfo) + str(conninfo.libpq_environment())


def test_asyncpg_psycopg2_and_libpqs_variables_lead_to_the_same_place(conninfo, monkeypatch):
    query = "SELECT current_database() || current_user || current_setting('work_mem')"
    given = parse(url_of(conninfo), PGOPTIONS="-c work_mem=7MB")

    async def by_asyncpg():
        connection = await asyncpg.connect(
            **given.asyncpg_arguments(), server_settings=given.server_settings(), password=given.password
        )
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def by_psycopg2(*args, **kwargs):
        connection = psycopg2.connect(*args, **kwargs)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]
        finally:
            connection.close()

    password = {"password": given.password} if given.password else {}
    seen = [asyncio.run(by_asyncpg()), by_psycopg2(**given.keywords, **password)]
    if given.password:
        monkeypatch.setenv("PGPASSWORD", given.password)
    for name, value in given.libpq_environment().items():
        monkeypatch.setenv(name, value)
    seen.append(by_psycopg2(""))
    assert seen == [f"{conninfo.database}{conninfo.role}7MB"] * 3
