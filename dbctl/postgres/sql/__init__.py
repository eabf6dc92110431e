"""SQL text as PostgreSQL's own parser understands it."""

from dbctl.postgres.sql.decode import Parsed, parse
from dbctl.postgres.sql.tree import SqlNotParsed

__all__ = ["Parsed", "SqlNotParsed", "parse"]
