"""How long to wait for a server, and when to ask again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pemt_tf.errors import PemtError
from pemt_tf.export.prediction_error import UNAVAILABLE, PredictionError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RetryPolicy:
    """Asks again only where the server was not available; a refusal or a missed deadline would come again.

    Attributes:
        timeout: seconds for one request with all its attempts and the waits between them.
        attempts: at most.
        first_wait: seconds before the second attempt; doubled before each further one, and shortened by chance to
            no less than half, so that many clients do not come back at once.
        longest_wait: seconds.
    """

    timeout: float = 60.0
    attempts: int = 5
    first_wait: float = 0.2
    longest_wait: float = 5.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise PemtError(f"the timeout is {self.timeout:g} s; it must be above 0")
        if self.attempts < 1:
            raise PemtError(f"{self.attempts} attempts are too few; at least 1 is needed")

    def run(
        self,
        attempt: Callable[[float], Answer],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> Answer:
        """Calls until there is an answer.

        Args:
            attempt: takes the seconds that are left; raises PredictionError.
            sleep, clock, chance: those of the system, or of a test.

        Raises:
            PredictionError: that of the last attempt.
        """
        end = clock() + self.timeout
        for number in range(self.attempts):
            try:
                return attempt(end - clock())
            except PredictionError as error:
                wait = min(self.first_wait * 2**number, self.longest_wait) * (1 + chance()) / 2
                last = number + 1 == self.attempts
                if error.code != UNAVAILABLE or last or clock() + wait >= end:
                    raise
                sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")
