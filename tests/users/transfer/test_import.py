"""An import: every row checked, the bad ones told by line and field, the good ones in, or nothing at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

import pytest

from dbctl.errors import AlreadyExists, Busy, ConnectionLost, Refused, UsageError
from dbctl.users.model import NewUser
from dbctl.users.passwords import Passwords
from dbctl.users.repository import UserRepository
from dbctl.users.transfer.load import Wishes, import_users
from dbctl.users.transfer.model import Row
from dbctl.users.transfer.rejects import Rejects
from tests.fixtures.database import execute
from tests.users.transfer.conftest import ALLOWING

HEADER = "username,email,full_name\n"
TWO = HEADER + "ada,ada@example.com,Ada Lovelace\ngrace,grace@example.com,\n"


def rejections(transfer) -> list[tuple[int, str, str]]:
    return [(one.line, one.field, one.why) for one in transfer.rejected]


async def test_rows_become_users_and_what_is_empty_takes_its_default(transfer):
    done = await transfer.take(TWO)
    assert (done.rows, done.added, done.rejected) == (2, 2, 0)
    async with transfer.database.session() as session:
        grace = await UserRepository(session).find("grace")
    assert (grace.full_name, grace.is_active, grace.is_superuser, grace.has_password) == (
        None,
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("row", "field", "why"),
    [
        ("ada,ada-at-example.com,", "email", "name@host"),
        (",ada@example.com,", "username", "missing"),
        ("1,ada@example.com,", "username", "at least one letter"),
        (f"{'a' * 51},ada@example.com,", "username", "51 characters"),
        (f"ada,ada@example.com,{'a' * 256}", "full_name", "256 characters"),
        ("ada,ada@example.com,a\x00b", "full_name", "zero byte"),
        ("ada,ada@example.com,a\x1b[31m", "full_name", "control characters"),
        ("ada,ada@example.com,a\udce9", "full_name", "UTF-8"),
        ("ada,ada@example.com", "", "2 cells, the header has 3"),
        ("ada,ada@example.com,a,b", "", "4 cells, the header has 3"),
        ('ada,ada@example.com,"a"b', "", "expected after"),
    ],
)
async def test_a_bad_row_is_told_by_its_line_and_field_and_the_others_are_in(transfer, row, field, why):
    done = await transfer.take(f"{HEADER}first,first@example.com,\n{row}\nlast,last@example.com,\n")
    ((line, found, said),) = rejections(transfer)
    assert (line, found, done.added) == (3, field, 2)
    assert why in said
    assert await transfer.names() == ["first", "last"]


@pytest.mark.parametrize("name", ["Ада 🎉", "\u202eevil", "[/red]", "=1+1", 'a "quoted", name'])
async def test_names_of_any_kind_are_taken_as_they_are(transfer, name):
    quoted = name.replace('"', '""')
    await transfer.take(f'{HEADER}ada,ada@example.com,"{quoted}"\n')
    async with transfer.database.session() as session:
        assert (await UserRepository(session).find("ada")).full_name == name


async def test_lines_are_counted_as_an_editor_counts_them(transfer):
    await transfer.take('username,email\n"a","a@example.com"\n\n"b","b@exa\nmple.com"\n"c","c"\n')
    assert [line for line, *_ in rejections(transfer)] == [4, 6]


async def test_one_bad_row_is_enough_for_nothing_where_nobody_said_where_to_put_it(transfer):
    done = await transfer.take(TWO + "x,y,z\n", Wishes())
    assert (done.added, done.rejected) == (0, 1)
    assert await transfer.names() == []


async def test_a_dry_run_counts_and_changes_nothing(transfer):
    done = await transfer.take(TWO + "x,y,z\n", Wishes(dry_run=True, all_or_nothing=False))
    assert (done.rows, done.added, done.rejected, done.dry_run) == (3, 2, 1, True)
    assert await transfer.names() == []


@pytest.mark.parametrize("on_conflict", ["error", "skip", "update"])
@pytest.mark.parametrize("all_or_nothing", [True, False])
async def test_a_dry_run_counts_what_the_real_one_does(transfer, on_conflict, all_or_nothing):
    await transfer.take(HEADER + "" if on_conflict == "error" else TWO)
    text = TWO + "new,new@example.com,\nADA,double@example.com,\nx,y,z\n"
    wishes = Wishes(on_conflict, all_or_nothing=all_or_nothing)
    tried = await transfer.take(text, replace(wishes, dry_run=True))
    done = await transfer.take(text, wishes)
    assert replace(tried, dry_run=False) == done
    assert (done.rejected, done.added + done.updated + done.skipped) == (2, 0 if all_or_nothing else 3)


async def test_a_double_within_the_file_is_told_with_the_line_of_the_first(transfer):
    rows = "ada,ada@example.com,\nADA,other@example.com,\ngrace,Ada@Example.com,\n"
    done = await transfer.take(HEADER + rows)
    assert done.added == 1
    assert sorted(rejections(transfer)) == [
        (3, "username", "it stands in line 2 too"),
        (4, "email", "it stands in line 2 too"),
    ]


async def test_a_user_that_is_there_ends_an_import_unless_told_otherwise(transfer):
    await transfer.take(TWO)
    with pytest.raises(AlreadyExists, match="line 3: username ADA") as raised:
        await transfer.take(f"{HEADER}new,new@example.com,\nADA,new2@example.com,\n")
    assert "--on-conflict" in raised.value.hint
    assert await transfer.names() == ["ada", "grace"]


async def test_skip_leaves_those_that_are_there(transfer):
    await transfer.take(TWO)
    done = await transfer.take(TWO + "new,new@example.com,\n", Wishes("skip"))
    assert (done.added, done.skipped) == (1, 2)


async def test_update_changes_what_the_file_gives_and_leaves_what_is_empty(transfer):
    await transfer.take(TWO)
    rows = "ADA,countess@example.com,\nnobody,GRACE@example.com,Grace Hopper\nnew,new@example.com,\n"
    done = await transfer.take(HEADER + rows, Wishes("update"))
    assert (done.added, done.updated) == (1, 2)
    assert await transfer.give("username", "email", "full_name") == (
        "username,email,full_name\n"
        "ADA,countess@example.com,Ada Lovelace\nnobody,GRACE@example.com,Grace Hopper\nnew,new@example.com,\n"
    )


async def test_update_rejects_a_row_that_is_about_two_users_and_the_second_about_one(transfer):
    await transfer.take(TWO)
    rows = "ada,grace@example.com,\nada,a@example.com,\nb,ada@example.com,\n"
    done = await transfer.take(HEADER + rows, Wishes("update", all_or_nothing=False))
    assert done.rejected == 3 - done.updated
    assert {line for line, *_ in rejections(transfer)} >= {3}
    async with transfer.database.session() as session:
        assert await UserRepository(session).count() == 2


async def test_a_plain_password_is_hashed_and_a_hash_is_taken_as_it_is(transfer):
    hashed = await Passwords().hash("a known one, long")
    rows = f'ada,ada@example.com,correct horse battery,\ngrace,grace@example.com,,"{hashed}"\nbad,bad@example.com,short,\n'
    await transfer.take("username,email,password,hashed_password\n" + rows)
    assert [(line, field) for line, field, _ in rejections(transfer)] == [(4, "password")]
    assert "short" not in str(transfer.rejected)
    async with transfer.database.session() as session:
        users = UserRepository(session)
        assert await users.verify_password("ada", "correct horse battery")
        assert await users.verify_password("grace", "a known one, long")


async def test_times_and_truths_are_read_and_nonsense_is_told(transfer):
    header = "username,email,is_active,created_at,updated_at\n"
    rows = (
        "a,a@example.com,no,2026-01-01T00:00:00+02:00,\n"
        "b,b@example.com,perhaps,,\n"
        "c,c@example.com,,2026-01-01,\n"
        "d,d@example.com,,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z\n"
        "e,e@example.com,,,2020-01-01T00:00:00Z\n"
    )
    await transfer.take(header + rows)
    assert [(line, field) for line, field, _ in rejections(transfer)] == [
        (3, "is_active"),
        (4, "created_at"),
        (5, "updated_at"),
    ]
    assert (await transfer.give("username", "is_active", "created_at")).splitlines()[1:] == [
        "a,false,2025-12-31T22:00:00Z",
        "e,true,2020-01-01T00:00:00Z",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing in the file"),
        ("username,full_name\nada,Ada\n", "no column is email"),
        ("username,email,email\na,b,c\n", "two columns are email"),
        ("username;email\na;b\n", "parted by ';'"),
        ("username,email,shoe size\na,b,c\n", "what is 'shoe size'"),
    ],
)
async def test_a_header_that_is_not_of_users_is_a_usage_error(transfer, text, why):
    with pytest.raises(UsageError, match=why):
        await transfer.take(text)


async def test_headers_are_mapped_or_left_out(transfer):
    mapping = {"E-Mail": "email", "shoe size": "-"}
    text = "User Name,id,E-Mail,shoe size\nada,7,ada@example.com,38\n"
    with pytest.raises(UsageError):
        await transfer.take(text, mapping=mapping)
    await transfer.take(text, mapping={**mapping, "User Name": "username"})
    assert await transfer.names() == ["ada"]


async def test_ndjson_has_types_and_nulls_of_its_own(transfer):
    lines = (
        '{"username": "ada", "email": "ada@example.com", "full_name": null, "is_active": false}\n'
        "\n"
        '{"username": "b"\n'
        '{"username": 7, "email": "c@example.com"}\n'
        '["d"]\n'
    )
    done = await transfer.take(lines, format_="ndjson")
    assert done.added == 1
    assert [(line, field) for line, field, _ in rejections(transfer)] == [(3, ""), (4, "username"), (5, "")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"username": "b", "email": "b@example.com", "email": "c@example.com"}', "'email' is there twice"),
        ('{"username": "b", "email": "b@example.com", "E-Mail": "c@example.com"}', "once as 'E-Mail'"),
        ('{"username": "b", "email": "b@example.com", "shoe": 38}', "what is 'shoe'"),
        ('{"username": "b", "email": "b@example.com", "full_name": {"first": "B"}}', "not an object"),
        ('{"username": "b", "email": "b@example.com", "full_name": NaN}', "no JSON: NaN"),
        ('{"username": "b", "email": "b@example.com"', "at character 44"),
        ("[" * 100_000, "no JSON"),
        ("9" * 10_000, "no JSON"),
    ],
)
async def test_a_line_of_json_that_will_not_do_is_one_bad_row(transfer, line, why):
    ada, last = (
        '{"username": "%s", "email": "%s@example.com"}\n' % (2 * (name,)) for name in ("ada", "last")
    )
    done = await transfer.take(ada + line + "\n" + last, format_="ndjson", mapping={"E-Mail": "email"})
    ((found, _, said),) = rejections(transfer)
    assert (done.added, found, why in said) == (2, 2, True), said


async def test_a_stranger_in_the_first_line_of_json_is_a_usage_error(transfer):
    with pytest.raises(UsageError, match="what is 'shoe'"):
        await transfer.take('{"username": "b", "email": "b@example.com", "shoe": 38}\n', format_="ndjson")


async def test_where_cells_are_missing_no_password_is_taken_for_a_name(transfer):
    await transfer.take("username,email,full_name,password\nada,ada@example.com,my very own secret\n")
    assert "secret" not in str(dict(transfer.rejected[0].cells))


@pytest.mark.parametrize(
    ("hashed", "why"),
    [
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", ""),
        ("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", ""),
        ("!", ""),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2Fsd", "cut short"),
        ("$klingon$5$abc", "no known scheme"),
        ("correct horse battery", "must be a hash"),
    ],
)
async def test_a_hash_has_the_form_of_a_known_scheme(transfer, hashed, why):
    done = await transfer.take(f'username,email,hashed_password\nada,ada@example.com,"{hashed}"\n')
    assert done.added == (not why)
    assert [why in said for _, _, said in rejections(transfer)] == [True] * done.rejected


def many(count: int) -> str:
    return HEADER + "".join(f"user{i},user{i}@example.com,\n" for i in range(count))


class Stopped(Exception):
    """The process is gone."""


async def test_batches_go_on_exactly_where_a_run_stopped(transfer):
    import io

    from dbctl.users.transfer.reading import read_rows

    def rows_until(last):
        for row in read_rows(io.StringIO(many(50)), "csv", {}):
            if row.line > last:
                raise Stopped
            yield row

    with pytest.raises(Stopped):
        await transfer.take_batches("", 10, rows=rows_until(35))
    assert len(await transfer.names()) == 30
    done = await transfer.take_batches(many(50), 10)
    assert (done.rows, done.added, done.resumed_behind) == (50, 50, 31)
    assert len(await transfer.names()) == 50


async def test_batches_stop_before_the_first_with_a_bad_row_where_nobody_said_where_to_put_it(transfer):
    text = many(25) + "bad,nowhere,\n" + "".join(f"x{i},x{i}@example.com,\n" for i in range(10))
    with pytest.raises(Refused, match="line 27 breaks a rule") as raised:
        await transfer.take_batches(text, 10, Wishes())
    assert "behind line 21" in raised.value.hint
    assert len(await transfer.names()) == 20
    done = await transfer.take_batches(text, 10)
    assert (done.added, done.rejected, done.resumed_behind) == (35, 1, 21)


async def test_a_file_that_is_all_in_is_not_imported_in_batches_again(transfer):
    await transfer.take_batches(many(5), 2)
    with pytest.raises(Refused, match="imported already"):
        await transfer.take_batches(many(5), 2)


async def test_of_two_runs_in_batches_over_one_file_none_adds_a_row_twice(transfer):
    results = await asyncio.gather(
        *(transfer.take_batches(many(300), 20, Wishes("error", all_or_nothing=False)) for _ in range(2)),
        return_exceptions=True,
    )
    assert {type(one) for one in results if isinstance(one, BaseException)} <= {Busy, AlreadyExists, Refused}
    await _finish(transfer)
    assert len(await transfer.names()) == 300


async def _finish(transfer) -> None:
    try:
        await transfer.take_batches(many(300), 20)
    except Refused:
        return


async def test_two_imports_of_the_same_users_at_once_add_each_once(transfer, conninfo):
    text = HEADER + "".join(f"user{i},user{i}@example.com,\n" for i in range(200))
    done = await asyncio.gather(*(transfer.take(text, Wishes("skip")) for _ in range(2)))
    assert sum(one.added for one in done) == 200
    assert execute(conninfo, "SELECT count(*) FROM users") == [(200,)]


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
async def test_two_imports_at_once_in_another_order_do_not_wait_for_each_other_for_ever(
    transfer, on_conflict
):
    rows = [f"user{i},user{i}@example.com,\n" for i in range(5_000)]
    await transfer.take(TWO)
    done = await asyncio.gather(
        *(transfer.take(HEADER + "".join(some), Wishes(on_conflict)) for some in (rows, rows[::-1]))
    )
    assert sorted(one.added for one in done) == [0, 5_000]
    assert sum(one.updated + one.skipped for one in done) == 5_000


async def test_an_error_midway_leaves_nothing(transfer):
    with pytest.raises(Stopped):
        await transfer.take(many(10) + "x", ALLOWING, mapping=_Exploding())
    assert await transfer.names() == []


async def test_a_server_that_goes_away_is_noticed_while_rows_are_read(transfer, conninfo):
    def endless():
        for number in count(1):
            if number == 5_000:
                execute(conninfo, ENDED)
            yield Row(number, {"username": f"user{number}", "email": f"user{number}@example.com"})

    async with asyncio.timeout(60):
        with pytest.raises(ConnectionLost):
            await import_users(transfer.database, endless(), ALLOWING, rejects=Rejects(None, "csv"))
    assert execute(conninfo, "SELECT count(*) FROM users") == [(0,)]


ENDED = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class _Exploding(dict[str, str]):
    """A mapping that ends the process, as it were, at the first look."""

    def __contains__(self, _name: object) -> bool:
        raise Stopped


async def test_who_is_created_meanwhile_by_hand_is_found_as_a_conflict(transfer):
    async with transfer.database.session() as session:
        await UserRepository(session).create(NewUser("user3", "other@example.com"))
    with pytest.raises(AlreadyExists, match="line 5"):
        await transfer.take(many(5))
