"""Which clips are made of an input: one spread over all of it, or windows of a fixed length."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from beam_jobs.inputs.file_listing import InputClip
from pemt_tf.config import ClipGeometry
from pemt_tf.errors import PemtError

UNIFORM, WINDOWS, SEGMENTS = "uniform", "windows", "segments"
PLANS = (UNIFORM, WINDOWS, SEGMENTS)


@dataclass(frozen=True)
class ClipPlan:
    """A way to make clips.

    Attributes:
        kind: `uniform`, one clip an input, its segments spread over all of it; `windows`, clips of a fixed length one
            after the other; `segments`, one clip for each stretch that the manifest names.
        window: length of a window, seconds.
        stride: from the start of one window to the next, seconds.
    """

    kind: str = UNIFORM
    window: float | None = None
    stride: float | None = None

    @classmethod
    def from_flags(cls, kind: str, window: float | None, stride: float | None, geometry: ClipGeometry) -> ClipPlan:
        """From the command line; a window is by default as long as all segments side by side.

        Raises:
            PemtError: the flags contradict each other, or a window is shorter than a segment.
        """
        if kind != WINDOWS:
            if window is not None or stride is not None:
                raise PemtError("--window and --stride belong to --plan=windows")
            return cls(kind)
        window = geometry.segments * geometry.segment_seconds if window is None else window
        if window < geometry.segment_seconds:
            raise PemtError(
                f"--window={window:g} is shorter than one segment of the preset, {geometry.segment_seconds:.3f} s; "
                "make it longer, or choose another geometry"
            )
        return cls(kind, window, window if stride is None else stride)

    @property
    def makes_several(self) -> bool:
        """Whether an input may become more than one clip."""
        return self.kind == WINDOWS

    def to_json(self) -> dict[str, object]:
        """As JSON values; only what matters for this kind."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def check(self, clips: list[InputClip]) -> None:
        """Refuses inputs that do not go with the plan.

        Raises:
            PemtError: names the first.
        """
        if self.kind != SEGMENTS:
            return
        without = next((clip for clip in clips if clip.start is None or clip.end is None), None)
        if without is not None:
            raise PemtError(
                f"--plan=segments needs a manifest with start and end in every row; {without.name} has "
                f"{'no end' if without.start is not None else 'no start'}"
            )
