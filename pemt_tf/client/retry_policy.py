"""When to ask a server again, and how long to wait before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pemt_tf.client.prediction_error import PredictionError
from pemt_tf.errors import PemtError

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryPolicy:
    """Asks again if the server is not reachable yet or is busy; other refusals would repeat."""

    timeout: float = 60.0  # seconds for one request, including all attempts and waits
    attempts: int | None = None  # at most; None for as many as the timeout allows
    # Seconds. Waits double, and are shortened at random, by half at most, so that many clients do not return at once.
    first_wait: float = 0.2
    longest_wait: float = 5.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise PemtError(f"the timeout is {self.timeout:g} s; it must be above 0")
        if self.attempts is not None and self.attempts < 1:
            raise PemtError(f"{self.attempts} attempts are too few; at least 1 is needed")

    def run(
        self,
        attempt: Callable[[float], Result],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        *,
        waiting: Callable[[PredictionError], None] | None = None,
    ) -> Result:
        """Calls `attempt` with the remaining seconds until there is a result; raises its last PredictionError.

        `waiting` is called before each wait with its cause. `chance` gives a random number from 0 to 1.
        """
        end = clock() + self.timeout
        longest = self.first_wait
        number = 0
        while True:
            number += 1
            try:
                return attempt(end - clock())
            except PredictionError as error:
                left = end - clock()
                if not error.again or number == self.attempts or left <= self.first_wait:
                    raise
                # At most half of the remaining time, so that the last attempts come shortly before the end.
                wait = min(longest * (1 + chance()) / 2, left / 2)
                if waiting is not None:
                    waiting(error)
                sleep(wait)
                longest = min(2 * longest, self.longest_wait)
