"""When a decoded picture is shown."""

from __future__ import annotations

import numpy as np

SHORTEST_FRAME = 1e-6  # seconds


class FrameClock:
    """Tells when a decoded picture is shown: FFmpeg's best-effort rule over its two timestamps.

    Normally the presentation stamp (`pts`) is right; where it goes backwards more often than the decoding stamp
    (`dts`) does, that one is believed. AVI files store no presentation times at all; what FFmpeg then reports as `pts`
    jumps back and forth where there are B-frames, so only `dts` counts there, less the delay of the decoder.
    """

    def __init__(self, frame_duration: float, first_dts: float | None = None) -> None:
        """Starts a clock.

        Args:
            frame_duration: seconds; used only where a picture has no usable stamp at all.
            first_dts: decoding stamp, seconds, of the first packet, where the container has no presentation times.
        """
        self._frame_duration = frame_duration
        self._first_dts = first_dts
        self._delay: float | None = None
        self._last = {"pts": -np.inf, "dts": -np.inf}
        self._faults = {"pts": 0, "dts": 0}
        self._previous: float | None = None

    def time(self, pts: float, dts: float) -> float:
        """Seconds, always later than the previous call's; NaN arguments are unknown stamps."""
        if self._first_dts is None:
            time = self._best_effort(pts, dts)
        else:
            # The first picture comes out when the decoder has read enough; it is shown at the first packet's time.
            self._delay = dts - self._first_dts if self._delay is None else self._delay
            time = dts - self._delay
        if np.isnan(time):
            time = 0.0 if self._previous is None else self._previous + self._frame_duration
        elif self._previous is not None and time <= self._previous:
            time = self._previous + SHORTEST_FRAME  # as short as can be, so that later good stamps are not pushed away
        self._previous = time
        return time

    def _best_effort(self, pts: float, dts: float) -> float:
        for name, stamp, other in (("pts", pts, dts), ("dts", dts, pts)):
            if not np.isnan(stamp):
                self._faults[name] += stamp <= self._last[name]
                self._last[name] = stamp
            elif not np.isnan(other):
                self._last[name] = other
        trust_pts = not np.isnan(pts) and (np.isnan(dts) or self._faults["pts"] <= self._faults["dts"])
        return pts if trust_pts else dts

    def interrupted(self) -> None:
        """Pictures were left out: later stamps have no relation to earlier ones."""
        self._last = {"pts": -np.inf, "dts": -np.inf}
