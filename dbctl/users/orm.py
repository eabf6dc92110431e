"""The table ``users`` as SQLAlchemy knows it; ``metadata`` is what Alembic compares with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    String,
    Text,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbctl.users.rules import RULES

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of dbctl's tables: every constraint has a name that a later revision can use."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


metadata = Base.metadata


def _follows_rule(field: str) -> CheckConstraint:
    pattern = RULES[field].pattern.replace("'", "''")
    return CheckConstraint(text(f"{field} ~ '{pattern}'"), name=field)


class UserRow(Base):
    """A row of ``users``. The database keeps ``updated_at`` (trigger ``users_keep_updated_at``)."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="Never used again"
    )
    username: Mapped[str] = mapped_column(
        String(RULES["username"].max_length, collation="C"), comment="Signs in; unique whatever its case"
    )
    email: Mapped[str] = mapped_column(
        String(RULES["email"].max_length, collation="C"), comment="Unique whatever its case"
    )
    full_name: Mapped[str | None] = mapped_column(
        String(RULES["full_name"].max_length), comment="What people call the user; null: not known"
    )
    plain_name: Mapped[str | None] = mapped_column(
        Text,
        Computed("users_plain(full_name)", persisted=True),
        deferred=True,
        comment="full_name without case and accents, to be searched",
    )
    hashed_password: Mapped[str] = mapped_column(
        String(RULES["hashed_password"].max_length),
        server_default=text("'!'"),
        deferred=True,
        comment="PHC string such as $argon2id$..., or ! for no usable password",
    )
    is_active: Mapped[bool] = mapped_column(server_default=true(), comment="May sign in")
    is_superuser: Mapped[bool] = mapped_column(server_default=false(), comment="May do everything")
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), comment="When the row was made"
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True),
        server_default=func.now(),
        comment="When the row last changed; kept by a trigger",
    )

    __table_args__ = (
        *(_follows_rule(field) for field in RULES),
        CheckConstraint(text("updated_at >= created_at"), name="updated_at"),
        Index("uq_users_username", func.lower(username), unique=True),
        Index("uq_users_email", func.lower(email), unique=True),
        Index(None, created_at, "id"),
        Index(None, updated_at, "id"),
        Index(
            "ix_users_search",
            username,
            email,
            plain_name,
            postgresql_using="gin",
            postgresql_ops=dict.fromkeys(("username", "email", "plain_name"), "gin_trgm_ops"),
        ),
        Index(None, plain_name, postgresql_ops={"plain_name": "text_pattern_ops"}),
        {"comment": "Who may use the application"},
    )


class ImportRow(Base):
    """How far an import in batches is: a row a file, written in each batch's own transaction."""

    __tablename__ = "users_imports"

    fingerprint: Mapped[str] = mapped_column(
        String(64, collation="C"), primary_key=True, comment="Of the file and how it is read"
    )
    lines: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), comment="Up to here all is done")
    rows: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    added: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    updated: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rejected: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="null: not all of it is in"
    )

    __table_args__ = ({"comment": "Imports of users in batches, so that one goes on where it stopped"},)


class SeedingRow(Base):
    """Made-up users that belong together."""

    __tablename__ = "users_seedings"

    tag: Mapped[str] = mapped_column(String(100), primary_key=True, comment="Names them, to take them back")
    seed: Mapped[int] = mapped_column(BigInteger)
    locale: Mapped[str] = mapped_column(String(20))
    rows: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), comment="So many are there")
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = ({"comment": "Made-up users, by what made them"},)


class SeededIdsRow(Base):
    """Ids of made-up users, from the first to the last of a run."""

    __tablename__ = "users_seeded_ids"

    tag: Mapped[str] = mapped_column(
        String(100), ForeignKey(SeedingRow.tag, ondelete="CASCADE"), primary_key=True
    )
    first_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_id: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(text("last_id >= first_id"), name="order"),
        {"comment": "Which users a seeding made, by runs of ids"},
    )
