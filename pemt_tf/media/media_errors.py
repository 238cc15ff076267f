"""Why a media file could not become a clip: one fixed list of causes, used by every part that decodes."""

from __future__ import annotations

import os
import stat

from pemt_tf.files.names import printable

# Cause to its meaning, one sentence. Reports, failure files and tests use the names.
CAUSES = {
    "not_found": "the path leads to no file, or to one that may not be read",
    "open_failed": "no container format could be recognized, or its header is missing or damaged",
    "no_streams": "the container holds neither video nor audio, or not the stream that was asked for",
    "no_video": "there is no video, and the job was told to fail such files",
    "no_audio": "there is no audio, and the job was told to fail such files",
    "encrypted": "the video, or all there is, is encrypted",
    "unsupported_codec": "FFmpeg has no decoder for the video, or for the only stream",
    "truncated": "less than half of the declared length is there",
    "zero_frames": "not one frame (or, without video, not one audio sample) could be decoded",
    "decode_failed": "less than half of the frames could be decoded",
    "bad_samples": "the audio holds samples that are infinite, not numbers, or beyond any scale",
    "too_short": "the clip is shorter than one segment",
    "bad_timestamps": "the timestamps are unusable: there are none, all are the same, or they jump",
    "too_large": "the shape or size of frames, the number of windows, or the memory for decoding is above the limit",
    "timeout": "decoding took longer than the limit",
    "decoder_crash": "the decoding process died",
    "unknown_label": "the label is not in the vocabulary that the data set must follow",
}

# What a path may lead to besides a file.
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class MediaError(Exception):
    """One media file could not become a clip: a key of `CAUSES`, and one line that says what was found in this file."""

    def __init__(self, cause: str, detail: str) -> None:
        if cause not in CAUSES:
            raise ValueError(f"{cause!r} is not a cause of failure; known: {', '.join(CAUSES)}")
        self.cause = cause
        self.detail = printable(" ".join(detail.split()))
        super().__init__(f"{cause}: {self.detail}")


def why_no_file(path: str) -> str | None:
    """Why a local path cannot be read as a file, one line; None for a file."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - paths of other machines need not be valid Path text
    except (OSError, ValueError):
        return f"no file at {path}"
    if stat.S_ISREG(mode):
        return None
    kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
    return f"{path} is {kind}, not a file"
