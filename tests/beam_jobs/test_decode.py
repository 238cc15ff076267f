"""The expendable decoder: the same clip as without it, and children that crash, hang or talk nonsense."""

import sys
import time
from collections import Counter

import numpy as np
import pytest

from beam_jobs.decode import ExpendableDecoder
from pemt_tf.config import Config
from pemt_tf.features.decode import MediaError, decode_clip
from tests import media

GEOMETRY = Config.from_preset("tiny").geometry
# A child that does what its request's path says; otherwise as the real one.
MISBEHAVING = """
import json, os, sys, time
for line in sys.stdin:
    what = json.loads(line)["path"]
    if what == "crash": os.kill(os.getpid(), 11)
    if what == "exit": sys.exit(3)
    if what == "hang": time.sleep(60)
    if what == "half": sys.stdout.write("{"); sys.stdout.flush(); time.sleep(60)
    print(json.dumps({"cause": "open_failed", "detail": f"{os.getpid()}", "sizes": []}), flush=True)
"""


def misbehaving(timeout=30.0):
    return ExpendableDecoder(GEOMETRY, timeout, 4096, command=(sys.executable, "-c", MISBEHAVING))


def failure(decoder, path):
    with pytest.raises(MediaError) as caught:
        decoder.decode(path)
    return caught.value


def test_same_clip_as_in_process(tmp_path):
    path = str(media.write_video(tmp_path / "a.mp4", audio_seconds=1.0))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        for where in ({}, {"start": 0.5, "end": 1.5}):
            ours, plain = decoder.decode(path, **where), decode_clip(path, GEOMETRY, **where)
            assert ours.jpegs == plain.jpegs and ours.image_times == plain.image_times
            assert (ours.start, ours.end, ours.height, ours.width) == (
                plain.start,
                plain.end,
                plain.height,
                plain.width,
            )
            assert ours.notes == plain.notes
            np.testing.assert_array_equal(ours.waveform, plain.waveform)


def test_missing_streams_come_through(tmp_path):
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        blind = decoder.decode(str(media.write_video(tmp_path / "a.mp4", video_codec=None)))
        assert blind.jpegs is None and blind.waveform.shape == (4, 8000)
        silent = decoder.decode(str(media.write_video(tmp_path / "b.mp4", audio_codec=None)))
        assert silent.waveform is None and len(silent.jpegs) == 16


def test_causes_come_through_and_the_process_lives_on(tmp_path):
    good = str(media.write_video(tmp_path / "a.mp4"))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        assert failure(decoder, str(tmp_path / "gone.mp4")).cause == "not_found"
        assert failure(decoder, str(media.not_media(tmp_path / "b.mp4"))).cause == "open_failed"
        assert decoder.decode(good).height == 48


def test_crash_costs_one_clip():
    with misbehaving() as decoder:
        before = failure(decoder, "fine").detail
        assert failure(decoder, "fine").detail == before, "the same process serves many clips"
        crash = failure(decoder, "crash")
        assert (crash.cause, crash.detail) == ("decoder_crash", "the decoding process ended by SIGSEGV")
        assert failure(decoder, "exit").detail == "the decoding process ended with exit code 3"
        after = failure(decoder, "fine")
        assert after.cause == "open_failed" and after.detail != before


@pytest.mark.parametrize("how", ["hang", "half"])
def test_hang_costs_one_clip(how):
    with misbehaving(timeout=0.5) as decoder:
        failure(decoder, "fine")
        begin = time.monotonic()
        assert failure(decoder, how).cause == "timeout"
        assert time.monotonic() - begin < 5
        assert failure(decoder, "fine").cause == "open_failed"


def test_memory_limit(tmp_path):
    """The limit holds in the child only; here it is so small that even the start fails."""
    path = str(media.write_video(tmp_path / "a.mp4"))
    with ExpendableDecoder(GEOMETRY, 60, 64) as decoder:
        assert failure(decoder, path).cause in ("too_large", "decoder_crash")


def test_mutated_files_end_in_a_clip_or_a_cause(tmp_path):
    """Bytes changed, cut out and put in at random, seeded: no crash, no hang, no exception of another kind."""
    random = np.random.default_rng(0)
    originals = [media.write_video(tmp_path / f"a{suffix}", seconds=1) for suffix in (".mp4", ".webm", ".avi", ".ts")]
    causes = Counter()
    with ExpendableDecoder(GEOMETRY, 30, 4096) as decoder:
        for number in range(160):
            original = originals[number % len(originals)]
            data = bytearray(original.read_bytes())
            for _ in range(random.integers(1, 8)):
                place, length = int(random.integers(len(data))), int(random.integers(1, 200))
                change = random.integers(3)
                data[place : place + (0 if change == 1 else length)] = b"" if change == 2 else random.bytes(length)
            path = tmp_path / f"mutated{original.suffix}"
            path.write_bytes(data)
            try:
                clip = decoder.decode(str(path))
                assert clip.jpegs is None or len(clip.jpegs) == 16
                causes["written"] += 1
            except MediaError as error:
                causes[error.cause] += 1
    assert sum(causes.values()) == 160 and causes["written"] > 20 and causes["open_failed"] > 20
    assert not causes["decoder_crash"] and not causes["timeout"]


def test_child_needs_no_tensorflow():
    import subprocess

    code = "import sys, beam_jobs.decoder_child; sys.exit('tensorflow' in sys.modules or 'apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
