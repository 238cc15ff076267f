"""The factor that keeps gradients of float16 from vanishing; it finds its size by itself."""

from __future__ import annotations

from dataclasses import dataclass

_GROW_AFTER = 2000
_LARGEST = 2.0**24


@dataclass
class LossScale:
    """Halved when a gradient overflows, doubled after 2000 steps without one.

    A step whose gradient overflows changes no weight. It counts as a step all the same: the schedule goes on, and its
    clips are not shown again.

    Attributes:
        value: factor on the loss.
        good_steps: steps since the last change.
    """

    value: float = 2.0**15
    good_steps: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether it cannot be lowered any more: a gradient that overflows now is not the fault of float16."""
        return self.value <= 1.0

    def update(self, finite: bool) -> None:
        """Takes note of a step, and whether its gradient was a number."""
        if not finite:
            self.value, self.good_steps = self.value / 2, 0
        elif self.good_steps + 1 < _GROW_AFTER:
            self.good_steps += 1
        else:
            self.value, self.good_steps = min(self.value * 2, _LARGEST), 0
