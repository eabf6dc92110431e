"""Runs this folder's revisions, for dbctl and for a plain `alembic` alike."""

from __future__ import annotations

import asyncio
from logging.config import fileConfig

from alembic import context
from sqlalchemy import URL, Connection, create_engine, pool

from dbctl.users.orm import metadata

config = context.config


def migrate(connection: Connection) -> None:
    """Apply what the command asked for: each revision commits by itself."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def write_sql() -> None:
    """Print what would be applied: no server is asked."""
    context.configure(
        url="postgresql+psycopg2://",
        target_metadata=metadata,
        transaction_per_migration=True,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


async def environment_url() -> URL:
    """The address of DBCTL_ENV, for an `alembic` typed by hand: dbctl sets it in memory."""
    from dbctl.database import resolve_target
    from dbctl.settings import load_settings

    target = await resolve_target(load_settings())
    return (await target.with_password()).psycopg2_url()


def connect_and_migrate() -> None:
    """Migrate on a connection of our own, closed afterwards."""
    url = config.get_main_option("sqlalchemy.url") or asyncio.run(environment_url())
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        migrate(connection)


if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    write_sql()
elif "connection" in config.attributes:
    migrate(config.attributes["connection"])
else:
    connect_and_migrate()
