"""Settings: which layer wins, where each value came from, and what an error says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.errors import SettingsError
from dbctl.settings import find_configs, load_settings
from dbctl.settings.load import known_keys
from dbctl.settings.show import list_environments, list_settings
from dbctl.settings.types import parse_duration
from tests.fixtures.database import ROOT

URL = "postgresql://ada:s3cret@db.example/app"


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "base.toml").write_text("[pool]\nsize = 3\nmax_overflow = 4\n")
    (folder / "local.toml").write_text('server = "embedded"\n')
    (folder / "staging.toml").write_text("[pool]\nsize = 6\n")
    return folder


def load(configs, name="staging", overrides=None, **environ):
    return load_settings(name, configs, environ=environ, overrides=overrides)


def test_a_later_layer_wins_and_the_others_keep_their_keys(configs):
    loaded = load(configs, overrides={"pool": {"timeout": 1}}, DBCTL_POOL__MAX_OVERFLOW="9")
    pool = loaded.settings.pool
    assert (pool.size, pool.max_overflow, pool.timeout) == (6, 9, 1)
    assert loaded.origins["pool.size"] == "configs/staging.toml"
    assert loaded.origins["pool.max_overflow"] == "DBCTL_POOL__MAX_OVERFLOW"
    assert loaded.origins["pool.timeout"] == "command line"


def test_database_url_is_read_and_the_more_exact_name_wins(configs):
    plain = load(configs, DATABASE_URL=URL)
    exact = load(configs, DATABASE_URL=URL, DBCTL_DATABASE__URL="postgresql://other/db")
    assert plain.settings.database.url.get_secret_value() == URL
    assert exact.origins["database.url"] == "DBCTL_DATABASE__URL"


def test_libpq_variables_name_a_database_only_where_nothing_else_does(configs):
    assert load(configs, PGHOST="db").settings.database.url.get_secret_value() == "postgresql://"
    assert load(configs, "local", PGHOST="db").settings.database.url is None


def test_without_configs_an_address_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_settings(environ={"DATABASE_URL": URL})
    assert loaded.environment == "local"
    assert loaded.root == tmp_path


def test_without_configs_and_address_the_error_says_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={})
    assert "--configs" in caught.value.hint
    assert "DATABASE_URL" in caught.value.hint


def test_a_named_environment_needs_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no configs/"):
        load_settings("staging", environ={"DATABASE_URL": URL})


def test_configs_are_found_from_below(configs, monkeypatch):
    below = configs.parent / "a" / "b"
    below.mkdir(parents=True)
    assert find_configs(below) == configs


def test_a_variable_that_is_no_json_is_named_and_not_shown(configs):
    with pytest.raises(SettingsError) as caught:
        load(configs, DBCTL_BACKUP__KEEP='{"daily": s3cret', DBCTL_POOL='{"size": 5}')
    assert "DBCTL_BACKUP__KEEP can't be read" in str(caught.value)
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"
    assert "_Variables" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "said", "hint"),
    [
        ("staging", "[pool]\nsizee = 1", "unknown key pool.sizee in configs/staging.toml", "pool.size"),
        ("staging", "[pol]\nsize = 1", "unknown key pol", "pool"),
        ("base", "[pool]\ntimeout = -1", "bad value for pool.timeout in configs/base.toml", "pool.timeout"),
        ("staging", "[database]\nlock_timeout = '5 parsecs'", "bad value for database.lock_timeout", "mend"),
        ("staging", "protected = maybe", "staging.toml is not valid TOML", "mend"),
        ("staging", "pool = 3", "'pool' in configs/staging.toml", ""),
        ("staging", "[database]\nsslmode = 'on'", "bad value for database.sslmode", "mend"),
    ],
)
def test_a_mistake_in_a_file_names_file_key_and_fix(configs, file, text, said, hint):
    (configs / f"{file}.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(configs)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_environment_offers_the_nearest(configs):
    with pytest.raises(SettingsError) as caught:
        load(configs, "stagin")
    assert "--env staging" in caught.value.hint


def test_a_misspelt_variable_of_a_section_is_an_error_and_of_a_table_a_warning(configs):
    with pytest.raises(SettingsError, match="DBCTL_POOL__SIZEE"):
        load(configs, DBCTL_POOL__SIZEE="3")
    assert "DBCTL_POOL" in load(configs, DBCTL_POL__SIZE="3").warnings[0]


def test_a_command_in_a_variable_is_split_as_a_shell_does(configs):
    loaded = load(configs, DBCTL_DATABASE__PASSWORD_COMMAND="pass show 'my db' a,b")
    assert loaded.settings.database.password_command == ("pass", "show", "my db", "a,b")
    loaded = load(configs, DBCTL_DATABASE__PASSWORD_COMMAND='["pass", "show", "my db"]')
    assert loaded.settings.database.password_command == ("pass", "show", "my db")


@pytest.mark.parametrize("text", ["tls role", "tls,role", "tls, role,", '["tls", "role"]'])
def test_names_in_variables_stand_between_blanks_or_commas_or_in_json(configs, text):
    assert load(configs, DBCTL_HEALTH__SKIP=text).settings.health.skip == ("tls", "role")


@pytest.mark.parametrize("text", ["[tls", '["tls", 1]', "['tls']"])
def test_a_list_that_is_no_json_is_named(configs, text):
    with pytest.raises(SettingsError, match=r"health\.skip in DBCTL_HEALTH__SKIP") as caught:
        load(configs, DBCTL_HEALTH__SKIP=text)
    assert "JSON array" in caught.value.why


@pytest.mark.parametrize(
    "values",
    [
        {"DATABASE_URL": URL},
        {"DATABASE_URL": "host=db password='s3cret' user=ada"},
        {"DATABASE_URL": "postgresql://db/app?user=ada&password=s3cret"},
        {"DBCTL_DATABASE__PASSWORD": "s3cret"},
        {"DBCTL_DATABASE__PASSWORD_COMMAND": "echo s3cret"},
    ],
)
def test_no_view_of_the_settings_holds_a_secret(configs, values):
    loaded = load(configs, **values)
    assert "s3cret" not in repr(loaded) + str(list_settings(loaded))


def test_an_error_about_a_secret_does_not_quote_it(configs):
    (configs / "staging.toml").write_text('[database]\npassword = ["s3cret"]')
    with pytest.raises(SettingsError) as caught:
        load(configs)
    assert "s3cret" not in str(caught.value)


def test_every_value_has_a_source(configs):
    shown = list_settings(load(configs, DATABASE_URL=URL))
    assert {setting.key for setting in shown} == set(known_keys())
    assert {setting.source for setting in shown} >= {"default", "configs/base.toml", "DATABASE_URL"}


def test_environments_are_listed_with_what_marks_them(monkeypatch):
    listed = {one.name: one for one in list_environments(None, ROOT / "configs")}
    assert set(listed) == {"local", "test", "staging", "production"}
    assert listed["local"].current
    assert listed["production"].protected
    assert listed["local"].server == "embedded"


@given(
    st.floats(0, 1000, allow_nan=False), st.sampled_from([("ms", 0.001), ("s", 1), ("min", 60), ("h", 3600)])
)
def test_a_duration_is_its_number_times_its_unit(number, unit):
    name, factor = unit
    assert parse_duration(f"{number:.3f}{name}") == pytest.approx(float(f"{number:.3f}") * factor)
