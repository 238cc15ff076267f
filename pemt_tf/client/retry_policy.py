"""How long to wait for a server, and when to ask again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pemt_tf.client.prediction_error import PredictionError
from pemt_tf.errors import PemtError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RetryPolicy:
    """Asks again where the server is not there yet or has too much to do; other refusals would come again.

    Attributes:
        timeout: seconds for one request with all its attempts and the waits between them.
        attempts: at most; None for as many as the timeout allows.
        first_wait: seconds before the second attempt; doubled before each further one, and shortened by chance to
            no less than half, so that many clients do not come back at once.
        longest_wait: seconds. No wait is longer than half of the time that is left.
    """

    timeout: float = 60.0
    attempts: int | None = None
    first_wait: float = 0.2
    longest_wait: float = 5.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise PemtError(f"the timeout is {self.timeout:g} s; it must be above 0")
        if self.attempts is not None and self.attempts < 1:
            raise PemtError(f"{self.attempts} attempts are too few; at least 1 is needed")

    def run(
        self,
        attempt: Callable[[float], Answer],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        *,
        waiting: Callable[[PredictionError], None] | None = None,
    ) -> Answer:
        """Calls until there is an answer.

        Args:
            attempt: takes the seconds that are left; raises PredictionError.
            sleep, clock, chance: those of the system, or of a test.
            waiting: is told before each wait why there is one.

        Raises:
            PredictionError: that of the last attempt.
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
                # Half of the time that is left at most: the last attempts are made shortly before the end.
                wait = min(longest * (1 + chance()) / 2, left / 2)
                if waiting is not None:
                    waiting(error)
                sleep(wait)
                longest = min(2 * longest, self.longest_wait)
