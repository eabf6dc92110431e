"""What is known of every hazard."""

from __future__ import annotations

import ast

import pytest

from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.model import Hazard
from dbctl.migrate.rules.registry import Hit, load

# The ids of the hazard table, and those of ours for what it only mentions.
IDS = [
    "add-col-volatile-default",
    "add-col-stored-generated",
    "add-col-serial",
    "add-col-identity",
    "add-col-not-null-no-default",
    "add-col-unique",
    "add-col-pk",
    "add-col-fk",
    "add-col-check",
    "add-col-constrained-domain",
    "add-col-json",
    "style-types",
    "alter-type-rewrite",
    "alter-type-narrowing",
    "alter-type-reindex",
    "alter-type-recheck",
    "dependent-view",
    "set-not-null",
    "pk-index-nullable",
    "drop-not-null",
    "drop-default",
    "change-default",
    "set-expression",
    "add-fk",
    "add-check",
    "add-unique",
    "add-pk",
    "add-exclude",
    "validate-same-txn",
    "fk-no-index",
    "fk-type-mismatch",
    "multi-table-locks",
    "drop-constraint",
    "drop-pk",
    "replica-identity",
    "table-without-pk",
    "domain-add-constraint",
    "create-index",
    "create-unique-index",
    "index-concurrently-in-txn",
    "cic-if-not-exists",
    "index-on-partitioned",
    "index-corruption",
    "drop-index",
    "replace-index",
    "wide-index",
    "hash-index",
    "reindex",
    "drop-table",
    "drop-column",
    "drop-column-dependents",
    "drop-schema",
    "drop-database",
    "truncate",
    "truncate-cascade",
    "rename-column",
    "rename-table",
    "rename-schema",
    "rename-enum-value",
    "set-schema",
    "set-unlogged",
    "set-tablespace",
    "set-access-method",
    "cluster-vacuum-full",
    "explicit-lock",
    "create-table-fk",
    "create-partition-of",
    "attach-partition",
    "detach-partition",
    "create-trigger",
    "toggle-trigger",
    "drop-trigger",
    "rls-enable",
    "refresh-matview",
    "drop-view",
    "enum-add-value-txn",
    "dml-unbatched",
    "dml-under-ddl-lock",
    "ddl-under-exclusive",
    "pending-trigger-events",
    "hidden-ddl",
    "long-lock",
    "int-pk",
    "identifier-too-long",
    "no-lock-timeout",
    "not-idempotent",
    "irreversible",
    "lossy-downgrade",
    "multiple-heads",
    "model-drift",
    "mixed-PR",
    "revision-id-too-long",
    "unknown-down-revision",
    "revision-fails",
    "fails-on-rows",
    "time-limit",
    "leaves-scratch",
    "scratch-lacks",
    "needs-newer-postgresql",
]
HAZARDS = sorted(load().values(), key=lambda hazard: hazard.id)
# The server says what is wrong; there is no other way to write what is not known.
WITHOUT_A_SAFE_WAY = {"revision-fails", "fails-on-rows", "time-limit", "leaves-scratch", "scratch-lacks"}

every_hazard = pytest.mark.parametrize("hazard", HAZARDS, ids=lambda hazard: hazard.id)


def test_every_hazard_of_the_table_is_known():
    assert set(IDS) <= set(load())


@every_hazard
def test_it_says_why_in_a_sentence_or_two(hazard: Hazard):
    assert hazard.why.endswith(".")
    assert 30 < len(hazard.why) < 260
    assert hazard.versions


@every_hazard
def test_its_safe_way_is_python_whatever_names_are_known(hazard: Hazard):
    assert hazard.safe or hazard.id in WITHOUT_A_SAFE_WAY
    for body in hazard.safe:
        ast.parse(fill((body,), Hit()))


def test_a_safe_way_that_can_not_be_filled_stands_as_it_is():
    assert fill(("a {b!z} {0} {c.d}",), Hit(names={"c": "x"})) == "a {b!z} {0} {c.d}"
    assert fill(("drop {table} {old}",), Hit(("t",))) == "drop t <old>"
    assert fill(("one {table}", "two"), Hit(("t",))) == "# revision 1\none t\n\n# revision 2\ntwo"
