"""How long to wait before asking again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential, with jitter, so that clients that failed together do not come back together."""

    #: Seconds before the first repetition, at most.
    first_s: float = 0.1
    #: Seconds between two attempts, at most, unless the server asks for more.
    longest_s: float = 5.0

    def delay_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Seconds to wait after ``attempt`` failures; never less than the server asks for."""
        spread = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30))
        return (retry_after_s or 0.0) + spread * random.uniform(0.5, 1)  # noqa: S311 - no secret
