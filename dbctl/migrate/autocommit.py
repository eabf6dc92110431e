"""Whether a statement is committed as soon as it has run: by the driver's mode, or by a COMMIT that a revision says."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

# psycopg2.extensions: STATUS_BEGIN of a connection, TRANSACTION_STATUS_IDLE of the server.
_BEGUN, _IDLE = 2, 0


def commits_alone(connection: Connection) -> bool:
    """Whether the server commits the next statement of this connection by itself."""
    driver: Any = connection.connection.dbapi_connection
    return bool(getattr(driver, "autocommit", False)) or is_left(driver)


def is_left(driver: Any) -> bool:
    """Whether the driver takes itself to be in a transaction that a COMMIT in SQL has ended.

    Then it begins none, and nothing does, until its own commit or rollback. psycopg begins one anew.
    """
    if hasattr(driver, "get_transaction_status"):
        return bool(driver.status == _BEGUN and driver.get_transaction_status() == _IDLE)
    return _believes(driver) and not is_open(driver)


def is_open(driver: Any) -> bool:
    """Whether the server has a transaction open for it; True where the driver can't tell."""
    if hasattr(driver, "get_transaction_status"):
        return bool(driver.get_transaction_status() != _IDLE)
    inner = getattr(driver, "driver_connection", driver)
    if hasattr(inner, "is_in_transaction"):
        return bool(inner.is_in_transaction())
    info = getattr(inner, "info", None)
    return bool(getattr(info, "transaction_status", True))


def _believes(driver: Any) -> bool:
    """Whether SQLAlchemy's adapter of asyncpg has begun a transaction; its name for that was another before 2.1."""
    return bool(getattr(driver, "_transaction", None) or getattr(driver, "_started", False))
