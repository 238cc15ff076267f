"""Figures in words."""

from __future__ import annotations

from pemt_tf.config import ClipGeometry


def percent(share: float, digits: int = 0) -> str:
    """A share, 0 to 1, as per cent: `91 %`, with a space that does not break."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def counted(number: int, singular: str, plural: str) -> str:
    """`1 clip`, `2 clips`, `1,200 clips`."""
    return f"{number:,}\N{NO-BREAK SPACE}{singular if number == 1 else plural}"


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def geometry_in_words(geometry: ClipGeometry) -> str:
    """What one clip is to a model, in one sentence without its full stop."""
    return (
        f"{counted(geometry.segments, 'segment', 'segments')} of {geometry.segment_seconds:.3g} s: "
        f"{geometry.frames_per_segment} frames at {geometry.frame_rate:g} per second, training crop "
        f"{geometry.train_crop} and test crop {geometry.test_crop} pixels; audio at {geometry.sample_rate:,} Hz mono, "
        f"log-mel {geometry.mel_bins} \N{MULTIPLICATION SIGN} {geometry.mel_frames}"
    )
