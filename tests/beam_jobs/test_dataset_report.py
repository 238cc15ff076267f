"""The report of a data set: figures against those that went in, escaping, self-containedness, empty sections."""

from __future__ import annotations

import base64
import dataclasses
import re
import shutil

import numpy as np
import pytest
import simplejpeg

from beam_jobs.finish import dataset_index
from beam_jobs.report.dataset_report import write_report
from pemt_tf.config import ClipGeometry, Config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import SEQUENCE_EXAMPLE
from pemt_tf.errors import PemtError
from tests.beam_jobs.memory_file_system import FILES
from tests.beam_jobs.report_folder import FakeClip, FakeDataset, label_counts, mixed, pair
from tests.report.test_report_page import Page

SPEED = {
    "seconds": 65.0,
    "core_seconds": 120.0,
    "clips_per_second": 0.5,
    "clips_per_core_second": 0.25,
    "workers": 2,
    "video_seconds": 240.0,
}


@pytest.fixture(scope="module")
def geometry(small_config) -> ClipGeometry:
    return small_config.geometry


def report_of(folder, dataset: FakeDataset, speed=None, **card_changes) -> str:
    card = dataclasses.replace(dataset.write(folder), **card_changes)
    write_report(str(folder), card, speed)
    return (folder / "report.html").read_text(encoding="utf-8")


def section(text: str, anchor: str) -> str:
    return re.search(rf'<section id="{anchor}".*?</section>', text, re.DOTALL)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows as plain text."""
    return [
        [Page(cell).text for cell in re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    ]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def columns(text: str) -> dict[str, dict[tuple[float, float], int]]:
    """Of each histogram: clips by range, and `None` for those without a figure."""
    found = {}
    for panel in re.findall(r'<figure class="panel">.*?</figure>', text, re.DOTALL):
        title = re.search(r"<figcaption><span>(.*?), ", panel)[1]
        bars = re.findall(r"<title>([-\d.,]+) to ([-\d.,]+) [^:]*: ([\d,]+)</title>", panel)
        number = {(_number(low), _number(high)): int(_number(count)) for low, high, count in bars}
        missing = re.search(r"([\d,]+)\N{NO-BREAK SPACE}clips? (?:without|of unknown)", panel)
        found[title] = {**number, None: int(_number(missing[1])) if missing else 0}
    return found


def test_counts_are_those_of_the_card(tmp_path, geometry):
    dataset = mixed(geometry)
    text = report_of(tmp_path, dataset)
    page = Page(text)
    assert "35 inputs = 30 written + 2 filtered by a rule + 3 failed" in page.text
    assert "30 clips from 30 of 35 inputs of videos" in page.text
    reasons = {row[1]: (row[0], row[2]) for row in rows(section(text, "inputs")) if row[0] in ("failed", "filtered")}
    assert reasons == {
        "open_failed": ("failed", "2"),
        "too_short": ("failed", "1"),
        "not_media_suffix": ("filtered", "1"),
        "hidden": ("filtered", "1"),
    }
    head, *splits = rows(section(text, "splits"))
    assert head[:7] == ["Split", "Files", "Clips", "Labelled", "Labels", "With frames", "With audio"]
    for name, *figures in splits:
        clips = [clip for clip in dataset.clips if clip.split == name]
        expected = [1, len(clips), sum(bool(clip.labels) for clip in clips), len({x for c in clips for x in c.labels})]
        expected += [sum(clip.video for clip in clips), sum(clip.audio for clip in clips)]
        assert list(map(int, figures[:6])) == expected
    assert [row[0] for row in splits] == ["train", "validation", "test"]


def test_class_balance_counts_every_label_in_every_split(tmp_path, geometry):
    dataset = mixed(geometry, vocabulary=["cat", "cow", "dog", "emu"])
    text = report_of(tmp_path, dataset)
    counts = label_counts(dataset.clips)
    head, *table = rows(section(text, "labels"))
    assert head == ["Label", "", "Clips", "train", "validation", "test"]
    splits = ("train", "validation", "test")
    assert {row[0]: list(map(int, row[3:])) for row in table} == {
        label: [counts[label, split] for split in splits] for label in ("cat", "cow", "dog", "emu")
    }
    assert all(int(row[2]) == sum(map(int, row[3:])) for row in table)
    assert [row[0] for row in table] == ["cat", "cow", "dog", "emu"]  # by frequency, then by name
    assert "1 label of the vocabulary without any clip" in Page(text).text


def test_histograms_hold_every_clip_once(tmp_path, geometry):
    dataset = mixed(geometry)
    histograms = columns(report_of(tmp_path, dataset))
    assert set(histograms) == {
        *("Length", "Frame rate of the source", "Size of the source", "Size of the record"),
        *("Loudness", "Peak", "Motion", "Brightness"),
    }
    for title, counts in histograms.items():
        assert sum(counts.values()) == len(dataset.clips), title
    silent = sum(not clip.audio for clip in dataset.clips)
    blind = sum(not clip.video for clip in dataset.clips)
    assert (silent, blind) == (5, 3)
    missing = {title: counts.pop(None) for title, counts in histograms.items()}
    assert missing["Length"] == missing["Size of the record"] == 0
    assert missing["Loudness"] == missing["Peak"] == silent
    assert missing["Motion"] == missing["Brightness"] == missing["Frame rate of the source"] == blind
    values = {
        "Length": [clip.seconds for clip in dataset.clips],
        "Frame rate of the source": [clip.frame_rate for clip in dataset.clips if clip.video],
        "Loudness": [clip.loudness_db for clip in dataset.clips if clip.audio],
    }
    for title, numbers in values.items():
        for (low, high), count in histograms[title].items():
            assert count == sum(low <= number < high for number in numbers), (title, low)


def test_lengths_over_several_powers_of_ten_are_told_apart(tmp_path, geometry):
    lengths = (0.5, 0.6, 4.0, 60.0, 7200.0)
    clips = [FakeClip(f"{seconds}.mp4", seconds=seconds) for seconds in lengths]
    text = report_of(tmp_path, FakeDataset(geometry, clips))
    length = {edges: count for edges, count in columns(text)["Length"].items() if edges and count}
    assert sorted(length.values()) == [1, 1, 1, 2]
    assert all(high / low <= 3 for low, high in length)


HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;\udc80\u202e.mp4"""
PROTOCOL = "javascript:alert(3)//https://evil.example/x.js"


def test_hostile_names_and_labels_stay_text(tmp_path, geometry):
    label = HOSTILE.replace("\udc80", "")
    clips = [
        FakeClip(label, labels=(label, PROTOCOL), notes=(label,), silent=True),
        FakeClip(PROTOCOL, labels=(PROTOCOL,), split="test"),
    ]
    dataset = FakeDataset(
        geometry,
        clips,
        failures=[(HOSTILE, "open_failed", HOSTILE)],
        filtered=[(HOSTILE, "hidden")],
        pairs=[pair(clips[0], clips[1])],
    )
    text = report_of(tmp_path, dataset, source=HOSTILE, command=HOSTILE, preset=HOSTILE)
    page = Page(text)
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert r"\udc80" in page.text  # a byte that is no text
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data"):
            assert attributes.get(name, "#").startswith(("data:", "#"))


def test_page_asks_for_nothing_and_follows_the_theme(tmp_path, geometry):
    text = report_of(tmp_path, mixed(geometry), SPEED)
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script|<iframe|<object", text)
    page = Page(text)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "@media (prefers-color-scheme: dark)" in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"].removeprefix("#") for attributes in page.all("a")} <= set(ids)
    for attributes in page.all("svg"):
        assert attributes["role"] == "img" and attributes["aria-label"]


def test_empty_sections(tmp_path, geometry):
    clips = [FakeClip(f"{number}.mp4", audio=False) for number in range(3)]
    text = report_of(tmp_path, FakeDataset(geometry, clips))
    page = Page(text)
    assert "3 inputs = 3 written + 0 filtered by a rule + 0 failed" in page.text
    for anchor in ("labels", "flagged", "duplicates", "speed"):
        assert f'<section id="{anchor}"' not in text
    assert "Failures" not in page.text
    assert columns(text)["Loudness"] == {None: 3}
    assert "3 clips have no audio" in page.text


def test_data_set_without_a_clip(tmp_path, geometry):
    dataset = FakeDataset(geometry, filtered=[("a.mp4", "no_audio")])
    page = Page(report_of(tmp_path, dataset))
    assert "1 inputs = 0 written + 1 filtered by a rule + 0 failed" in page.text
    assert page.all("svg") == page.all("img") == []


def test_audio_only(tmp_path, geometry):
    dataset = FakeDataset(geometry, [FakeClip("a.ogg", video=False), FakeClip("b.ogg", video=False, split="test")])
    text = report_of(tmp_path, dataset)
    assert columns(text)["Motion"] == {None: 2}
    pictures = [image["src"][:14] for image in Page(text).all("img")]
    assert pictures == ["data:image/png"] * 2 * geometry.segments


def test_only_the_first_failures_are_listed(tmp_path, geometry):
    failures = [(f"bad{number:03d}.mp4", "open_failed", f"reason {number:03d}") for number in range(250)]
    text = section(report_of(tmp_path, FakeDataset(geometry, [FakeClip("a.mp4")], failures=failures)), "inputs")
    listed = [row for row in rows(text) if row[0].startswith("bad")]
    assert listed == [list(failure) for failure in failures[:200]]
    assert "Failures: 250" in Page(text).text
    assert "The first 200; 50 more are in errors/failures.jsonl ." in Page(text).text


def test_flags_and_notes_are_shown(tmp_path, geometry):
    clips = [FakeClip(f"{number}.mp4") for number in range(40)]
    clips += [FakeClip(f"still{n}.mp4", frozen=True) for n in range(20)]
    clips += [FakeClip("mute.mp4", silent=True, notes=("audio covers 25 % of the clip",))]
    text = report_of(tmp_path, FakeDataset(geometry, clips))
    flagged = section(text, "flagged")
    assert "1 clip has audio that is only silence; 20 clips have frames" in Page(flagged).text
    shown = re.findall(r'class="clip-id" title="([^"]+)"', flagged)
    assert len(shown) == 8 and "mute.mp4" in shown
    assert "audio covers 25 % of the clip" in Page(flagged).text
    assert "1 clip silent, 20 frozen" in Page(section(text, "findings")).text


def test_duplicates_stand_side_by_side(tmp_path, geometry):
    dataset = mixed(geometry)
    dataset.pairs += [pair(dataset.clips[3], FakeClip("dropped.mp4", split="test"))]
    text = section(report_of(tmp_path, dataset), "duplicates")
    names = re.findall(r'class="clip-id" title="([^"]+)"', text)
    assert names == ["film00.mp4", "film26.mp4", "film01.mp4", "film02.mp4"]
    page = Page(text)
    assert "3 pairs of clips" in page.text
    assert "Across splits; 3.1 % of the bits of the frames differ" in page.text and "Both in train" in page.text
    assert "Of some pairs one clip was dropped" in page.text


def test_contact_sheet_spreads_over_splits_and_labels(tmp_path, geometry):
    dataset = mixed(geometry)
    text = section(report_of(tmp_path, dataset), "clips")
    names = re.findall(r'class="clip-id" title="([^"]+)"', text)
    assert len(names) == len(set(names)) == 24
    by_name = {clip.name: clip for clip in dataset.clips}
    shown = [by_name[name] for name in names]
    groups = {(clip.split, clip.labels) for clip in dataset.clips}
    assert {(clip.split, clip.labels) for clip in shown} == groups
    assert sum(clip.split == "test" for clip in shown) == 4  # all there are


def test_pictures_are_those_of_the_clip(tmp_path, geometry):
    for payload in ("example", SEQUENCE_EXAMPLE):
        dataset = mixed(geometry, payload=payload)
        text = section(report_of(tmp_path / payload, dataset), "clips")
        by_name = {clip.name: clip for clip in dataset.clips}
        cards = re.findall(r'<figure class="clip">.*?</figure>', text, re.DOTALL)
        assert len(cards) == 24
        for card in cards:
            clip = by_name[re.search(r'class="clip-id" title="([^"]+)"', card)[1]]
            jpegs = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', card)
            assert bool(jpegs) == clip.video and ("data:image/png" in card) == clip.audio
            for jpeg in jpegs:
                pixels = simplejpeg.decode_jpeg(base64.b64decode(jpeg))
                assert pixels.shape[0] == pixels.shape[1]
                assert np.abs(pixels.reshape(-1, 3).mean(0) - clip.colour).max() < 6
            assert f"{clip.seconds:.1f} s" in Page(card).text


def test_same_data_set_same_bytes_and_speed_stands_apart(tmp_path, geometry):
    first = report_of(tmp_path / "a", mixed(geometry))
    assert report_of(tmp_path / "b", mixed(geometry)) == first
    timed = report_of(tmp_path / "c", mixed(geometry), SPEED)
    assert 'id="speed"' not in first
    cells = dict(rows(section(timed, "speed"))[1:])
    assert cells == {
        "Time": "1 min 05 s",
        "Workers": "2",
        "Time of all cores together": "2 min 00 s",
        "Length of the clips": "4 min 00 s",
        "Clips per second": "0.5",
        "Clips per second of one core": "0.25",
        "Core time per second of clip": "500 ms",
    }
    without = timed.replace(section(timed, "speed"), "").replace('<li><a href="#speed">Speed</a></li>', "")
    assert without == first


def test_number_of_row_groups_changes_nothing(tmp_path, geometry, monkeypatch):
    expected = report_of(tmp_path / "one", mixed(geometry))
    monkeypatch.setattr(dataset_index, "ROWS_AT_ONCE", 4)
    assert report_of(tmp_path / "many", mixed(geometry)) == expected


def test_remote_folder(tmp_path, geometry):
    FILES.clear()
    expected = report_of(tmp_path, mixed(geometry))
    card = mixed(geometry).write("mem://bucket/data")
    write_report("mem://bucket/data", card, None)
    assert FILES["mem://bucket/data/report.html"].decode() == expected


def test_report_of_many_large_clips_stays_small(tmp_path):
    geometry = Config.from_preset("avbert_base").geometry
    noise = np.random.default_rng(0).integers(0, 256, (128, 170, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(noise, quality=95)

    class Noisy(FakeDataset):
        def _record(self, clip):
            record = super()._record(clip)
            return dataclasses.replace(record, jpegs=[jpeg] * len(record.jpegs))

    clips = [FakeClip(f"{number:02d}.mp4", silent=number >= 40, frozen=number >= 40) for number in range(48)]
    clips += [FakeClip(f"{number:02d}-again.mp4") for number in range(8)]
    pairs = [pair(clips[number], clips[48 + number]) for number in range(8)]
    text = report_of(tmp_path, Noisy(geometry, clips, pairs=pairs))
    assert len(Page(text).all("img")) == (24 + 8 + 16) * 10 * 2
    assert len(text.encode()) < 3_000_000


def test_index_and_card_must_agree(tmp_path, geometry):
    card = mixed(geometry).write(tmp_path)
    FakeDataset(geometry, [FakeClip("a.mp4")]).write(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "index.parquet", tmp_path)
    with pytest.raises(PemtError, match=r"index.parquet lists 1 clips, but 30 were counted; run the job again"):
        write_report(str(tmp_path), card, None)


def test_damaged_and_missing_files_are_one_clear_sentence(tmp_path, geometry):
    card = mixed(geometry).write(tmp_path)
    record_file = tmp_path / "train" / "clips-00000-of-00001.tfrecord"
    data = bytearray(record_file.read_bytes())
    data[3000:3010] = bytes(10)
    record_file.write_bytes(data)
    with pytest.raises(PemtError, match=r"cannot make .*report.html: .*damaged.*; run the job again"):
        write_report(str(tmp_path), card, None)
    (tmp_path / "errors" / "notes.jsonl").unlink()
    with pytest.raises(PemtError, match=r"cannot make .*notes.jsonl"):
        write_report(str(tmp_path), card, None)
    assert not (tmp_path / "report.html").exists()


def test_report_of_real_files(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "data")
    card = DatasetCard.read(folder)
    write_report(str(folder), card, None)
    text = (folder / "report.html").read_text(encoding="utf-8")
    failed = sum(card.failed.values())
    filtered = sum(card.filtered.values())
    equation = f"{card.inputs} inputs = {card.written} written + {filtered} filtered by a rule + {failed} failed"
    assert equation in Page(text).text
    for counts in columns(text).values():
        assert sum(counts.values()) == card.clips
    shown = re.findall(r'class="clip-id" title="([^"]+)"', section(text, "clips"))
    assert len(set(shown)) == card.clips  # few enough to show all
