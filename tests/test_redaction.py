"""No password survives redaction, whatever it is made of and wherever it stands."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from dbctl.redaction import MASK, redact

passwords = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*"), min_size=6)


@given(passwords)
def test_a_url_loses_its_password_and_nothing_else(password):
    text = redact(f"connect to postgresql://ada:{quote(password, safe='')}@db.example:5432/app failed")
    assert text == f"connect to postgresql://ada:{MASK}@db.example:5432/app failed"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6))
def test_an_unescaped_password_is_masked_up_to_the_last_at_sign(password):
    assert f"postgresql://ada:{MASK}@db/app" == redact(f"postgresql://ada:{password}@db/app")


def test_a_password_with_blanks_is_masked_whole():
    assert redact("postgresql://u:pa ss@w ord@localhost/db") == f"postgresql://u:{MASK}@localhost/db"


@given(passwords.filter(lambda text: not set(text) & set("'\"&\\")))
def test_a_keyword_string_loses_its_password(password):
    masked = f"host=db password={MASK} user=ada"
    assert redact(f"host=db password={password} user=ada") == masked
    assert redact(f"host=db password='{password}' user=ada") == masked


@given(passwords)
def test_a_known_secret_is_masked_anywhere(password):
    assert password not in redact(f"the server said <{password}>", password).replace(MASK, "")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF)))
def test_a_password_in_sql_is_masked_however_it_is_quoted(password):
    plain = password.replace("'", "''")
    escaped = plain.replace("\\", "\\\\")
    for literal in (f"'{plain}'", f"E'{escaped}'", f"$x${password}$x$"):
        assert redact(f"ALTER ROLE ada PASSWORD {literal} LOGIN") == f"ALTER ROLE ada PASSWORD {MASK} LOGIN"
