"""The expendable process that decodes: reads requests on standard input, answers on standard output.

It imports PyAV and NumPy only. What comes back is a line of JSON followed by raw bytes, never pickled objects: a
decoder that a hostile file has taken over must not be able to run code in the job.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import BinaryIO

from pemt_tf.config import ClipGeometry
from pemt_tf.features.decode import DecodedClip, MediaError, decode_clip


def answer(output: BinaryIO, header: dict, blobs: tuple[bytes, ...] = ()) -> None:
    """Writes one answer."""
    output.write(json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode() + b"\n")
    output.writelines(blobs)
    output.flush()


def _answer_clip(output: BinaryIO, clip: DecodedClip) -> None:
    header = {
        "start": clip.start,
        "end": clip.end,
        "image_times": clip.image_times,
        "height": clip.height,
        "width": clip.width,
        "notes": clip.notes,
        "waveform": None if clip.waveform is None else clip.waveform.shape,
        "video": clip.jpegs is not None,
    }
    sound = () if clip.waveform is None else (clip.waveform.tobytes(),)
    answer(output, header, (*sound, *(clip.jpegs or ())))


def serve(requests: BinaryIO, output: BinaryIO, geometry: ClipGeometry, timeout: float) -> None:
    """Answers requests until the other side closes."""
    for line in requests:
        request = json.loads(line)
        # Should the job die while FFmpeg hangs, the system ends this process; the default action needs no Python.
        signal.alarm(int(timeout) + 10)
        try:
            _answer_clip(output, decode_clip(request["path"], geometry, request["start"], request["end"]))
        except MediaError as error:
            answer(output, {"cause": error.cause, "detail": error.detail})
        except MemoryError:
            answer(output, {"cause": "too_large", "detail": "decoding took more memory than is allowed"})
        except Exception as error:
            answer(output, {"cause": "decoder_crash", "detail": f"{type(error).__name__}: {error}"})
        signal.alarm(0)


def main() -> None:
    """Arguments: the settings as one JSON object."""
    settings = json.loads(sys.argv[1])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may get between the answers
    limit = settings["memory_mb"] * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, output, ClipGeometry(**settings["geometry"]), settings["timeout"])


if __name__ == "__main__":
    main()
