"""The factor that keeps float16 gradients from vanishing; it adapts itself."""

from __future__ import annotations

from dataclasses import dataclass

_GROW_AFTER = 2000
_LARGEST = 2.0**24


@dataclass
class LossScale:
    """A factor that is halved when a gradient overflows, and doubled after 2000 steps without overflow.

    A step whose gradient overflows changes no weight, but counts as a step: the schedule advances, and its clips are
    not repeated.
    """

    value: float = 2.0**15
    good_steps: int = 0  # since the last change

    @property
    def exhausted(self) -> bool:
        """Whether it cannot be lowered further: a gradient that overflows now is not caused by float16."""
        return self.value <= 1.0

    def update(self, finite: bool) -> None:
        """Adapts the factor after a step whose gradient was finite or not."""
        if not finite:
            self.value, self.good_steps = self.value / 2, 0
        elif self.good_steps + 1 < _GROW_AFTER:
            self.good_steps += 1
        else:
            self.value, self.good_steps = min(self.value * 2, _LARGEST), 0
