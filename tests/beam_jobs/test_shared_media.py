"""The job on real and on malformed files from elsewhere, where they are at hand (../shared/media)."""

import json
from pathlib import Path

import pytest

from beam_jobs.preprocess import main
from pemt_tf.data.dataset_card import DatasetCard

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"

# Causes that only one reading of the file allows, found by looking at each file's bytes and at FFmpeg's messages.
KNOWN_CAUSES = {
    "zero_length.mp4": "open_failed",
    "zero_length.webm": "open_failed",
    "not_a_video.mp4": "open_failed",
    "only_ftyp.mp4": "open_failed",
    "nasa_truncated_400k.mp4": "open_failed",  # its index was at the end
    "mp4parse_chunk_out_of_range.mp4": "open_failed",
    "bbb_truncated_300k.webm": "truncated",
    "mp4parse_zero_empty_stsc.mp4": "truncated",
    "mp4parse_invalid_userdata.mp4": "truncated",  # a header without data
    "mp4parse_short-cenc.mp4": "encrypted",
    "mp4parse_tiny_av1.mp4": "too_short",
    "mp4parse_minimal.mp4": "too_short",
    "mp4parse_bipbop_audioinit.mp4": "zero_frames",  # the first part of a stream, without samples
}
MUST_BE_WRITTEN = {
    "mp4parse_white.mp4",
    "nasa_audio_only.mp4",
    "nasa_video_only.mp4",
    "nasa_bitflips_mdat.mp4",  # damaged in places
    "video_with_failing_audio.mp4",
    "decord_corrupted.mp4",
}


def prepared(name, tmp_path):
    if not (MEDIA / name).is_dir():
        pytest.skip(f"no {MEDIA / name} on this machine")
    assert main(["--input", str(MEDIA / name), "--output", str(tmp_path / "out"), "--preset", "tiny"]) == 0
    card = DatasetCard.read(tmp_path / "out")
    assert card.inputs == sum(path.is_file() for path in (MEDIA / name).rglob("*"))
    failures = (tmp_path / "out" / "errors" / "failures.jsonl").read_text().splitlines()
    return card, {row["id"]: row for row in map(json.loads, failures)}


def test_malformed_files(tmp_path):
    card, failures = prepared("malformed", tmp_path)
    assert {name: failures[name]["cause"] for name in KNOWN_CAUSES} == KNOWN_CAUSES
    assert not MUST_BE_WRITTEN & set(failures)
    assert "decoder_crash" not in card.failed and "timeout" not in card.failed
    assert all(row["detail"] and "\n" not in row["detail"] for row in failures.values())


def test_good_files(tmp_path):
    card, failures = prepared("video", tmp_path)
    # Four recordings of a tenth of a second: shorter than any segment.
    assert {name: row["cause"] for name, row in failures.items()} == {
        f"video_{angle}.mov": "too_short" for angle in (0, 90, 180, 270)
    }
    assert card.labels == ["grid"]
    assert sum(split.labels.get("grid", 0) for split in card.splits.values()) == 10
