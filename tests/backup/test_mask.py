"""What is restored into another environment holds nobody's name, address or password any more."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dbctl.errors import Failed, Refused
from tests.backup.conftest import Room, room_on
from tests.backup.test_restore import dump_text
from tests.fixtures.database import execute

PEOPLE = """
    INSERT INTO users (username, email, full_name, hashed_password)
    SELECT 'person' || i, 'person' || i || '@example.com', CASE WHEN i % 2 = 0 THEN 'Given Family' || i END, '$a$secret' || i
      FROM generate_series(1, 300) AS i
"""
CONTACTS = (
    "CREATE TABLE contacts (id int PRIMARY KEY, email text, phone varchar(24), note text, born date) PARTITION BY RANGE (id)",
    "CREATE TABLE contacts_1 PARTITION OF contacts FOR VALUES FROM (0) TO (100)",
    "INSERT INTO contacts VALUES (1, 'person7@example.com', '+49 30 1234567', 'calls often', '1970-01-01')",
    "CREATE MATERIALIZED VIEW addresses AS SELECT email FROM users",
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    "CREATE TRIGGER no BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION no()",
    "CREATE TRIGGER off BEFORE UPDATE ON contacts_1 FOR EACH ROW EXECUTE FUNCTION no()",
    "ALTER TABLE contacts_1 DISABLE TRIGGER off",
)
RULES = {"contacts.email": "email", "public.contacts.phone": "text", "contacts.born": "null"}
TRIGGERS = "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"


@pytest.fixture
def people(conninfo, tmp_path):
    """A database with users, and a second table about the same people."""
    execute(conninfo, PEOPLE, *CONTACTS)
    room = room_on(conninfo, tmp_path)
    yield room
    room.drop()


async def masked(room: Room, rules: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The name of a masked copy, and what was noted."""
    copy = f"{room.conninfo.database}_copy"
    done = await room.restore(await room.backup(), beside=copy, masks=rules)
    return copy, done.notes


async def test_no_original_is_left_and_what_belongs_together_still_does(people: Room):
    before = people.execute(TRIGGERS)
    copy, notes = await masked(people, RULES)
    there = people.conninfo.with_database(copy)
    text = dump_text(there)
    for original in ("@example.com", "person7", "Given", "secret", "1234567", "1970-01-01"):
        assert original not in text
    assert "calls often" in text
    counted = """SELECT count(*), count(DISTINCT lower(email)), count(DISTINCT lower(username)), count(full_name),
                        count(*) FILTER (WHERE hashed_password = '!') FROM users"""
    assert execute(there, counted) == [(300, 300, 300, 150, 300)]
    # The statistics hold samples of the rows: of the masked ones.
    sampled = "SELECT count(*) FROM pg_stats WHERE coalesce(most_common_vals::text, '') || coalesce(histogram_bounds::text, '') ~ 'example.com'"
    assert execute(there, sampled) == [(0,)]
    assert execute(there, "SELECT count(*) FROM addresses WHERE email !~ '@masked.invalid$'") == [(0,)]
    assert execute(there, TRIGGERS) == before
    assert notes[-2].startswith("masked: public.contacts.born (null), public.contacts.email (email)")
    assert "longer texts and JSON outside of rules were not" in notes[-1]
    assert dump_text(people.conninfo).count("@example.com") > 300


async def test_what_a_path_leads_to_in_a_document_is_masked_and_the_rest_of_it_stays(people: Room):
    people.execute(
        'ALTER TABLE contacts ADD data jsonb, ADD "raw: $1" json',
        """INSERT INTO contacts (id, data, "raw: $1") VALUES (0, '{"contact": {"email": "person9@example.com",
             "phones": ["4711", "0815"]}, "name": null, "n": 1}', '{"it''s: %s": "person9@example.com"}')""",
        "INSERT INTO contacts (id, data) VALUES (2, '[1]'), (3, '{}'), (4, NULL), (5, '{\"contact\": 7}')",
    )
    rules = {
        **RULES,
        "contacts.data.contact.email": "email",
        "contacts.data.contact.phones.1": "text",
        "public.contacts.data.name": "name",
        "contacts.data.contact.fax": "text",
        "contacts.raw: $1.it's: %s": "email",
    }
    copy, notes = await masked(people, rules)
    rows = "SELECT data, \"raw: $1\" ->> 'it''s: %s' FROM contacts ORDER BY id"
    (first, raw), _, *others = execute(people.conninfo.with_database(copy), rows)
    assert first["contact"]["email"] == raw
    assert raw.endswith("@masked.invalid")
    known, hidden = first["contact"]["phones"]
    assert (known, hidden == "0815", first["name"], first["n"]) == ("4711", False, None, 1)
    assert [document for document, _ in others] == [[1], {}, None, {"contact": 7}]
    assert [note for note in notes if "no row has" in note] == [
        "no row has anything at public.contacts.data.name: is the rule's path right?",
        "no row has anything at public.contacts.data.contact.fax: is the rule's path right?",
    ]
    people.drop()
    with pytest.raises(Refused, match=r"contacts\.data holds no text.*contacts\.data\.KEY"):
        await masked(people, {**RULES, "contacts.data": "text"})


async def test_an_address_that_is_left_elsewhere_stops_the_restore(people: Room):
    with pytest.raises(Failed, match=r"public\.contacts\.email"):
        await masked(people, {})
    assert people.databases() == {people.conninfo.database}


async def test_rules_that_fit_nothing_are_told_all_at_once(people: Room):
    people.execute("ALTER TABLE contacts ALTER note TYPE varchar(4) USING 'x', ALTER born SET NOT NULL")
    wrong = {
        **RULES, "contacts.born": "null", "contacts.note": "email", "contacts.id": "text", "orders.phone": "text",
    }  # fmt: skip
    with pytest.raises(Refused) as caught:
        await masked(people, wrong)
    for part in (
        "born may not be null",
        "note is too short",
        "id holds no text",
        "orders.phone is no column",
    ):
        assert part in caught.value.why
    assert people.databases() == {people.conninfo.database}


async def test_a_column_whose_name_sounds_personal_is_noted(people: Room):
    _, notes = await masked(people, {"contacts.email": "email"})
    assert "not masked, though its name sounds personal: public.contacts.phone" in notes
