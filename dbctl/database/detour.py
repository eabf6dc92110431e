"""Leads a driver that asks for one database to another one: an application may have kept the address that it read first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dbctl.database.conninfo import ConnInfo, names_of_hosts

# What says where a server is, who asks, and how both are sure of each other: the other server's own.
_OF_A_SERVER = {"host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service"}


@dataclass(frozen=True, slots=True)
class Detour:
    """From the database ``asked`` for, by whatever name of its server, ``to`` another."""

    asked: ConnInfo
    to: ConnInfo
    hosts: Collection[str]

    @classmethod
    def between(cls, asked: ConnInfo, to: ConnInfo) -> Detour:
        """One that knows the server's names and numbers; asks the resolver for them."""
        return cls(asked, to, names_of_hosts(asked.host, asked.keywords.get("hostaddr", "")))

    def is_meant(self, hosts: Iterable[str], ports: Iterable[str], database: str) -> bool:
        """Whether this is the way to ``asked``."""
        known = set(self.asked.port.split(","))
        return (
            database == self.asked.database
            and all(host in self.hosts for host in hosts)
            and all(port in known for port in ports)
        )

    def dsn(self, keywords: Mapping[str, str]) -> str:
        """The same for libpq; what else was asked for (``options``, ``application_name``) stays."""
        kept = {
            name: value
            for name, value in keywords.items()
            if name not in _OF_A_SERVER and not name.startswith(("ssl", "gss", "krb"))
        }
        words = {**kept, **self.to.keywords}
        if self.to.password:
            words["password"] = self.to.password
        return " ".join(f"{name}='{_escaped(value)}'" for name, value in words.items())

    def for_asyncpg(self, params: Any) -> tuple[Any, Any]:
        """The same as asyncpg has it: an address and its parameters."""
        changed = params._replace(
            user=self.to.role, password=self.to.password, database=self.to.database, ssl=None
        )
        return self._place(), changed

    def _place(self) -> str | tuple[str, int]:
        if self.to.is_socket:
            return f"{self.to.host}/.s.PGSQL.{self.to.port}"
        return self.to.host, int(self.to.port)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
