"""Table users: its rules, its listing indexes, and the trigger that keeps updated_at.

Revision ID: 0001_users
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_users"
down_revision = None
branch_labels = None
depends_on = None

USERNAME = "^(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$"
EMAIL = (
    "^[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]+"
    "@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    "(?:[.][A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
)
CONTROLS = r"\u0001-\u001f\u007f-\u009f"
BLANKS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
FULL_NAME = f"^[^{CONTROLS}{BLANKS}](?:[^{CONTROLS}]*[^{CONTROLS}{BLANKS}])?$"
HASHED_PASSWORD = "^(?:!|[$][a-z0-9-]+[$][!-~]+)$"  # noqa: S105 - a pattern

# What PostgreSQL itself has: the extension unaccent is not everywhere, and not immutable. Normalization knows UTF-8 only.
PLAIN_NAME = """
DO $migration$
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        CREATE OR REPLACE FUNCTION users_plain(text) RETURNS text
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT lower(translate(replace(
                regexp_replace(normalize($1, NFKD), '[\\u0300-\\u036f]+', '', 'g'), 'ß', 'ss'
            ), 'ØøŁłĐđı', 'OoLlDdi'))
        $$;
    ELSE
        CREATE OR REPLACE FUNCTION users_plain(text) RETURNS text
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT lower($1)';
    END IF;
    COMMENT ON FUNCTION users_plain(text) IS 'A name without case and accents, as it is searched for';
END
$migration$
"""
# clock_timestamp: now() is when the transaction began, which can be before the row was made.
KEEP_UPDATED_AT = """
CREATE FUNCTION users_keep_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(clock_timestamp(), NEW.created_at, OLD.updated_at);
    RETURN NEW;
END
$$
"""
# An update that changes nothing leaves updated_at alone. Named one by one: plain_name is not there yet when it is asked.
WATCHED = [
    "username",
    "email",
    "full_name",
    "hashed_password",
    "is_active",
    "is_superuser",
    "created_at",
    "updated_at",
]
TRIGGER = f"""
CREATE TRIGGER users_keep_updated_at BEFORE UPDATE ON users FOR EACH ROW WHEN (
    ({", ".join(f"OLD.{name}" for name in WATCHED)}) IS DISTINCT FROM ({", ".join(f"NEW.{name}" for name in WATCHED)})
) EXECUTE FUNCTION users_keep_updated_at()
"""


def upgrade() -> None:
    op.execute(PLAIN_NAME)
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False, comment="Never used again"),
        # ASCII under "C": case folds the same way in every locale, and no collation upgrade breaks the index.
        sa.Column(
            "username",
            sa.String(50, collation="C"),
            nullable=False,
            comment="Signs in; unique whatever its case",
        ),
        sa.Column("email", sa.String(255, collation="C"), nullable=False, comment="Unique whatever its case"),
        sa.Column("full_name", sa.String(255), comment="What people call the user; null: not known"),
        sa.Column(
            "plain_name",
            sa.Text,
            sa.Computed("users_plain(full_name)", persisted=True),
            comment="full_name without case and accents, to be searched",
        ),
        sa.Column(
            "hashed_password",
            sa.String(255),
            nullable=False,
            server_default=sa.text("'!'"),
            comment="PHC string such as $argon2id$..., or ! for no usable password",
        ),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true(), comment="May sign in"),
        sa.Column(
            "is_superuser", sa.Boolean, nullable=False, server_default=sa.false(), comment="May do everything"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the row was made",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the row last changed; kept by a trigger",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.CheckConstraint(f"username ~ '{USERNAME}'", name=op.f("ck_users_username")),
        sa.CheckConstraint(f"email ~ '{EMAIL}'", name=op.f("ck_users_email")),
        sa.CheckConstraint(f"full_name ~ '{FULL_NAME}'", name=op.f("ck_users_full_name")),
        sa.CheckConstraint(f"hashed_password ~ '{HASHED_PASSWORD}'", name=op.f("ck_users_hashed_password")),
        sa.CheckConstraint("updated_at >= created_at", name=op.f("ck_users_updated_at")),
        comment="Who may use the application",
    )
    op.create_index("uq_users_username", "users", [sa.text("lower(username)")], unique=True)
    op.create_index("uq_users_email", "users", [sa.text("lower(email)")], unique=True)
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("ix_users_updated_at_id", "users", ["updated_at", "id"])
    op.execute(KEEP_UPDATED_AT)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.drop_table("users")
    op.execute("DROP FUNCTION users_keep_updated_at()")
    op.execute("DROP FUNCTION users_plain(text)")
