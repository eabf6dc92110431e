"""Takes passwords out of text before a person, a log or a file sees it."""

from __future__ import annotations

import re

MASK = "****"

# The password of a URL runs to the last `@` of the line: pasted unescaped it may hold `@`, `/` and blanks.
_URL_PASSWORD = re.compile(
    r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/?#@]*):(?P<password>.*)@", re.IGNORECASE | re.ASCII
)
_KEYWORD_PASSWORD = re.compile(
    r"(?P<head>\b\w*(?:password|passwd|secret|token)\s*=\s*)(?P<value>'(?:[^'\\]|\\.)*'|[^\s&'\"]+)",
    # ASCII: to libpq a no-break space is a letter like any other.
    re.IGNORECASE | re.ASCII,
)
# As in ALTER ROLE … PASSWORD 'x' and OPTIONS (password 'x').
_SQL_PASSWORD = re.compile(
    r"(?P<head>\bpassword\s+)(?P<value>e'(?:[^'\\]|\\.|'')*'|\\?'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def redact(text: str, *secrets: str) -> str:
    """``text`` with URL passwords, ``password=`` values, SQL's PASSWORD literals and the given ``secrets`` masked."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(rf"\g<head>:{MASK}@", text)
    text = _SQL_PASSWORD.sub(rf"\g<head>{MASK}", text)
    return _KEYWORD_PASSWORD.sub(rf"\g<head>{MASK}", text)
