"""Decodes clips in an expendable process: what crashes, hangs or devours memory there costs one clip, not the job."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.features.decode import DecodedClip, MediaError

START_UP_SECONDS = 60.0  # the first answer of a process includes its imports, on a machine that may be busy
READ_BYTES = 2**20


class ExpendableDecoder:
    """One decoding process; it is started when first needed and again after it died.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self, geometry: ClipGeometry, timeout: float, memory_mb: int, command: tuple[str, ...] | None = None
    ) -> None:
        """Starts nothing yet.

        Args:
            geometry: what to sample.
            timeout: seconds that one clip may take.
            memory_mb: address space of the process, MiB.
            command: what to run instead of our own child; tests pass children that misbehave.
        """
        self._timeout = timeout
        settings = {"geometry": dataclasses.asdict(geometry), "timeout": timeout, "memory_mb": memory_mb}
        self._command = command or (sys.executable, "-m", "beam_jobs.decoder_child")
        self._settings = json.dumps(settings)
        self._process: subprocess.Popen | None = None
        self._buffer = bytearray()

    def __enter__(self) -> ExpendableDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, path: str, start: float | None = None, end: float | None = None) -> DecodedClip:
        """Decodes one clip of a local file.

        Raises:
            MediaError: no clip can be made of it, or the process crashed or took too long.
        """
        deadline = time.monotonic() + self._timeout
        if self._process is None:
            self._start()
            deadline += START_UP_SECONDS
        request = json.dumps({"path": path, "start": start, "end": end}).encode() + b"\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            return self._answer(deadline)
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            raise self._death(timed_out=isinstance(error, TimeoutError)) from None

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        self._buffer.clear()
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [*self._command, self._settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the job, which then closes its decoders
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def _answer(self, deadline: float) -> DecodedClip:
        while (line_end := self._buffer.find(b"\n")) < 0:
            self._receive(deadline)
        header = json.loads(self._buffer[:line_end])
        sizes = header["sizes"]
        total = line_end + 1 + sum(sizes)
        while len(self._buffer) < total:
            self._receive(deadline)
        ends = line_end + 1 + np.cumsum(sizes, dtype=np.int64)
        blobs = [bytes(self._buffer[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
        self._buffer.clear()
        if "cause" in header:
            raise MediaError(header["cause"], header["detail"])
        return _clip(header, blobs)

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        output = self._process.stdout.fileno()
        waiter = select.poll()  # unlike select, it takes descriptors beyond 1023
        waiter.register(output, select.POLLIN)
        if left <= 0 or not waiter.poll(1000 * left):
            raise TimeoutError
        data = os.read(output, READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data

    def _death(self, timed_out: bool) -> MediaError:
        if timed_out:
            self.close()
            return MediaError("timeout", f"decoding took more than {self._timeout:g} s")
        code = self._process.wait()
        self.close()
        if code == -signal.SIGALRM:
            return MediaError("timeout", f"decoding took more than {self._timeout:g} s")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return MediaError("decoder_crash", f"the decoding process ended {how}")


def _clip(header: dict, blobs: list[bytes]) -> DecodedClip:
    waveform = None
    if header["waveform"] is not None:
        waveform = np.frombuffer(blobs.pop(0), np.float32).reshape(header["waveform"])
    return DecodedClip(
        start=header["start"],
        end=header["end"],
        jpegs=blobs if header["video"] else None,
        image_times=header["image_times"],
        height=header["height"],
        width=header["width"],
        waveform=waveform,
        notes=tuple(header["notes"]),
    )
