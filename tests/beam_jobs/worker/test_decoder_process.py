"""The expendable decoder: the same clip as without it, and children that crash, hang or talk nonsense."""

import dataclasses
import os
import sys
import time
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from beam_jobs.worker import decoder_process
from beam_jobs.worker.decoder_process import ClipRequest, ExpendableDecoder
from beam_jobs.worker.record_slot import RecordSlot
from pemt_tf.config import Config
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.data.record_format import serialize
from pemt_tf.media.clip_decoder import MediaError, decode_clip
from tests import media_files as media

GEOMETRY = Config.from_preset("tiny").geometry
# A child that does what its request's path says; otherwise as the real one.
MISBEHAVING = """
import json, os, sys, time
for line in sys.stdin:
    what = json.loads(line)["path"]
    if what == "crash": os.kill(os.getpid(), 11)
    if what == "exit": sys.exit(3)
    if what == "hang": time.sleep(60)
    if what == "lie": print('{"clip": {}, "size": 1000}', flush=True); time.sleep(60)
    if what == "half": sys.stdout.write("{"); sys.stdout.flush(); time.sleep(60)
    print(json.dumps({"cause": "open_failed", "detail": f"{os.getpid()}", "size": 0}), flush=True)
"""


def misbehaving(timeout=30.0):
    return ExpendableDecoder(GEOMETRY, timeout, 4096, command=(sys.executable, "-c", MISBEHAVING))


def failure(decoder, path):
    with pytest.raises(MediaError) as caught:
        decoder.clip(ClipRequest(path))
    return caught.value


def features_of(record):
    return dict(tf.train.Example.FromString(record).features.feature)


def test_same_clip_as_in_process(tmp_path):
    path = str(media.write_video(tmp_path / "a.mp4", audio_seconds=1.0))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        for where in ({}, {"start": 0.5, "end": 1.5}):
            labels = {"labels": ("dog", "cat"), "label_indices": (4, 2), "extra": (("who", "ä"),)}
            made = decoder.clip(ClipRequest(path, clip_id="one", name="a.mp4", **where, **labels))
            plain = decode_clip(path, GEOMETRY, **where)
            built = build_clip(plain, GEOMETRY, "one", "a.mp4", *labels.values())
            ours, theirs = (features_of(record) for record in (made.record, serialize(built, GEOMETRY)))
            mels = [features.pop("audio/log_mel").float_list.value for features in (ours, theirs)]
            assert ours == theirs
            np.testing.assert_allclose(*mels, atol=1e-4)  # threads of a matrix product change its rounding
            assert made.about.bytes == len(made.record) and made.about.notes == plain.notes
            assert (made.about.start, made.about.end) == (plain.start, plain.end)
            assert made.source == dataclasses.asdict(plain.source)


def test_missing_streams_come_through(tmp_path):
    with ExpendableDecoder(GEOMETRY, 60, 4096, store_waveform=True) as decoder:
        blind = decoder.clip(ClipRequest(str(media.write_video(tmp_path / "a.mp4", video_codec=None))))
        assert (blind.about.has_video, blind.about.has_audio) == (False, True)
        features = tf.train.Example.FromString(blind.record).features.feature
        assert "image/encoded" not in features
        assert len(features["WAVEFORM/feature/floats"].float_list.value) == 4 * 8000
        silent = decoder.clip(ClipRequest(str(media.write_video(tmp_path / "b.mp4", audio_codec=None))))
        assert (silent.about.has_video, silent.about.has_audio) == (True, False)
        features = tf.train.Example.FromString(silent.record).features.feature
        assert len(features["image/encoded"].bytes_list.value) == 16 and "audio/log_mel" not in features


def test_windows_come_one_by_one(tmp_path):
    path = str(media.write_video(tmp_path / "a.mp4", seconds=5))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        request = ClipRequest(path, window=2.0, stride=1.0, clip_id="a.mp4")
        windows = list(decoder.clips(request))
        assert [one.about.clip_id for one in windows] == ["a.mp4#0-2", "a.mp4#1-3", "a.mp4#2-4", "a.mp4#3-5"]
        # Whoever stops early gets a fresh process: the rest of the answer is not taken for the next one.
        assert next(decoder.clips(request)).about.clip_id == "a.mp4#0-2"
        assert decoder.clip(ClipRequest(path, clip_id="whole")).about.clip_id == "whole"


def test_a_record_stays_until_it_was_taken(tmp_path):
    """The process runs ahead of a slow job, but never writes over a record that the job has not read."""
    path = str(media.write_video(tmp_path / "a.mp4", seconds=5))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        for one in decoder.clips(ClipRequest(path, window=1.0, stride=0.5, clip_id="a.mp4")):
            time.sleep(0.2)
            assert features_of(one.record)["clip/id"].bytes_list.value == [one.about.clip_id.encode()]
        assert one.about.clip_id == "a.mp4#4-5"


def test_causes_come_through_and_the_process_lives_on(tmp_path):
    good = str(media.write_video(tmp_path / "a.mp4"))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        assert failure(decoder, str(tmp_path / "gone.mp4")).cause == "not_found"
        assert failure(decoder, str(media.not_media(tmp_path / "b.mp4"))).cause == "open_failed"
        assert decoder.clip(ClipRequest(good)).about.has_video


def test_crash_costs_one_clip():
    with misbehaving() as decoder:
        before = failure(decoder, "fine").detail
        assert failure(decoder, "fine").detail == before, "the same process serves many clips"
        crash = failure(decoder, "crash")
        assert (crash.cause, crash.detail) == ("decoder_crash", "the decoding process ended by SIGSEGV")
        assert failure(decoder, "exit").detail == "the decoding process ended with exit code 3"
        after = failure(decoder, "fine")
        assert after.cause == "open_failed" and after.detail != before


def test_record_that_is_not_there_costs_one_clip(monkeypatch):
    monkeypatch.setattr(decoder_process, "DYING_SECONDS", 0.1)
    with misbehaving() as decoder:
        assert failure(decoder, "lie").detail == "the decoding process ended by SIGKILL"
        assert failure(decoder, "fine").cause == "open_failed"


def slots(is_sealed):
    """The same slot as the job and as the decoding process have it."""
    slot = RecordSlot.create()
    return RecordSlot(slot.descriptor, is_sealed), RecordSlot(os.dup(slot.descriptor))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_slot_holds_the_last_record_only(is_sealed):
    ours, theirs = slots(is_sealed)
    try:
        with pytest.raises(EOFError, match="0 of 1 bytes"):
            ours.take(1)
        large = [bytes([number % 256]) * number for number in range(4000)]  # 8 MB: the slot grows
        for parts in ([b"0123456789"], [b"a", b"", b"bc"], large, [b"x"]):
            assert theirs.put(parts) == sum(map(len, parts))
            assert ours.take(sum(map(len, parts))) == b"".join(parts)
        assert ours.take(0) == b""
        with pytest.raises(EOFError, match="of 1000000000 bytes"):
            ours.take(10**9)
    finally:
        ours.close()
        theirs.close()


def test_slot_cannot_be_cut_under_the_jobs_hands():
    """What is cut off of a mapping kills who touches it."""
    ours, theirs = slots(is_sealed=True)
    try:
        theirs.put([b"abc"])
        record = ours.take(3)
        with pytest.raises(PermissionError):
            os.ftruncate(theirs.descriptor, 0)
        assert record == b"abc" and record.readonly
    finally:
        ours.close()
        theirs.close()


def test_records_of_windows_are_not_written_over_while_they_are_looked_at(tmp_path):
    """Each is looked at after a pause in which the process could have made the next one."""
    path = str(media.write_video(tmp_path / "a.mp4", seconds=3))
    with ExpendableDecoder(GEOMETRY, 60, 4096) as decoder:
        request = ClipRequest(path, window=1.0, stride=1.0, clip_id="a", name="a.mp4")
        for number, made in enumerate(decoder.clips(request)):
            time.sleep(0.2)
            (name,) = features_of(bytes(made.record))["clip/id"].bytes_list.value
            assert name.decode() == made.about.clip_id == f"a#{number}-{number + 1}"
        assert number == 2


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
                made = decoder.clip(ClipRequest(str(path)))
                images = tf.train.Example.FromString(made.record).features.feature["image/encoded"].bytes_list.value
                assert len(images) == (16 if made.about.has_video else 0)
                causes["written"] += 1
            except MediaError as error:
                causes[error.cause] += 1
    assert sum(causes.values()) == 160 and causes["written"] > 20 and causes["open_failed"] > 20
    assert not causes["decoder_crash"] and not causes["timeout"]


def test_child_needs_no_tensorflow():
    import subprocess

    heavy = "'tensorflow' in sys.modules or 'apache_beam' in sys.modules"
    code = f"import sys, beam_jobs.worker.decoder_child; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
