"""Models and revisions compared, on scratch."""

from __future__ import annotations

from pathlib import Path

from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.run import lint_project
from dbctl.migrate.project import read_project

MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table(
    "t",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.String(50), nullable=False, index=True),
)
sa.Table("only_in_models", metadata, sa.Column("id", sa.BigInteger, primary_key=True))
"""
TABLE = 'op.create_table("{name}", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.String(50)))'


async def drift(written, wanted: str | None = None) -> tuple[list[str], list[str]]:
    """The reasons, what is about each, and the notes."""
    request = Request(written.folder, range=wanted, models=True)
    report = await lint_project(read_project(written.config), request, lambda _: None)
    found = [one for one in report.findings if one.hazard == "model-drift"]
    assert {one.file for one in found} <= {Path("migrations/env.py")}
    return sorted(one.why.partition(" Here ")[2] for one in found), list(report.notes)


def with_models(written) -> None:
    env_py = written.folder / "migrations" / "env.py"
    text = env_py.read_text().replace("target_metadata=None", "target_metadata=metadata")
    env_py.write_text(MODELS + text)


async def test_each_difference_is_a_finding(written):
    with_models(written)
    written.add("aaaa1", TABLE.format(name="t"))
    written.add("bbbb2", TABLE.format(name="only_in_revisions"))
    reasons, _ = await drift(written, "bbbb2")
    assert reasons == [
        "t.name is NOT NULL in the models, NULL by the revisions.",
        "the models have index ix_t_name of t, the revisions do not make it.",
        "the models have table only_in_models, the revisions do not make it.",
        "the revisions make table only_in_revisions, the models do not have it.",
    ]


async def test_revisions_after_the_range_count(written):
    with_models(written)
    written.add("aaaa1", TABLE.format(name="t"))
    written.add("bbbb2", TABLE.format(name="only_in_models"))
    reasons, _ = await drift(written, "aaaa1")
    assert "the models have table only_in_models, the revisions do not make it." not in reasons


async def test_models_are_compared_where_no_revision_is_new(written):
    with_models(written)
    written.add("aaaa1", TABLE.format(name="t"))
    reasons, _ = await drift(written, "aaaa1:aaaa1")
    assert "the models have table only_in_models, the revisions do not make it." in reasons


async def test_without_models_nothing_is_compared_and_that_is_said(written):
    written.add("aaaa1", TABLE.format(name="t"))
    reasons, notes = await drift(written)
    assert reasons == []
    assert any("nothing was compared" in note for note in notes)
