"""Any name survives quoting, through the real server."""

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbctl.errors import Invalid
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.scratch import ScratchServer

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)


def test_any_name_comes_back_from_the_server_as_it_was(scratch: ScratchServer) -> None:
    connection = psycopg2.connect(**scratch.params)

    @settings(max_examples=300, deadline=None)
    @given(names.filter(lambda name: len(name.encode()) <= 63))
    def check(name: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 AS {quote_identifier(name)}")
            assert cursor.description[0].name == name

    check()
    connection.close()


@pytest.mark.parametrize("name", ["select", "Users", "100%", "%(x)s", ":x", 'a"b', "a b", "ü"])
def test_it_is_always_quoted(name: str) -> None:
    assert quote_identifier(name) == '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ü" * 32, "\ud800"])
def test_what_postgres_would_cut_or_refuse_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="name is not valid"):
        quote_identifier(name)
