"""Whether a revision that failed is run again, and when."""

from __future__ import annotations

import random
import time

from dbctl.database.errors import sqlstate

# lock_timeout, a deadlock, a conflict of serializable transactions: the server has rolled back, and waits for nobody.
_WORTH_IT = {"55P03": "lock timeout", "40P01": "deadlock", "40001": "serialization failure"}
# query_canceled
_CANCELLED = "57014"
_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
_SHORTEST_SHARE = 0.5


class Budget:
    """The time in which one revision may be tried again, from its first failure on; 0 is no second attempt."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._revision = ""
        self._deadline = 0.0
        self.attempts = 0

    def pause(self, revision: str) -> float | None:
        """Seconds to wait before ``revision`` is run again, each time about twice as many; None: it is enough."""
        if revision != self._revision or not self.attempts:
            self._revision, self.attempts = revision, 0
            self._deadline = time.monotonic() + self._seconds
        self.attempts += 1
        longest = min(_FIRST_SECONDS * 2 ** (self.attempts - 1), _LONGEST_SECONDS)
        pause = longest * random.uniform(_SHORTEST_SHARE, 1)  # noqa: S311 - jitter, no secret
        return pause if pause < self.left_seconds else None

    @property
    def left_seconds(self) -> float:
        """What is left of it."""
        return max(self._deadline - time.monotonic(), 0)


def reason_to_retry(error: BaseException, *, was_cut: bool = False) -> str | None:
    """What kept a revision from its locks; None where another attempt would do no better.

    ``was_cut``: its statement was cancelled by us, for it waited too long.
    """
    state = sqlstate(error) or ""
    return _WORTH_IT["55P03"] if was_cut and state == _CANCELLED else _WORTH_IT.get(state)
