"""Makes the folder of a small data set without decoding anything, as the job leaves it before the card is written."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import simplejpeg

from beam_jobs.engines import storage
from beam_jobs.finish.assemble import split_card
from beam_jobs.finish.dataset_index import IndexWriter
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, InputOutcome, OutcomeCounts, WrittenClip
from pemt_tf.config import ClipGeometry
from pemt_tf.data.dataset_card import SPLITS, DatasetCard
from pemt_tf.data.record_format import EXAMPLE, ClipRecord, RecordFile, serialize


@dataclass
class FakeClip:
    """What a test wants to say of a clip; `colour` is that of its pictures, red green blue."""

    name: str
    labels: tuple[str, ...] = ()
    split: str = "train"
    seconds: float = 3.0
    video: bool = True
    audio: bool = True
    colour: tuple[int, int, int] = (90, 90, 90)
    frame_rate: float = 25.0
    loudness_db: float = -20.0
    silent: bool = False
    frozen: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class FakeDataset:
    """Clips, inputs that became none, and pairs; `write` makes a folder of them."""

    geometry: ClipGeometry
    clips: list[FakeClip] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)  # name, cause, detail
    filtered: list[tuple[str, str]] = field(default_factory=list)  # name, rule
    pairs: list[dict] = field(default_factory=list)
    vocabulary: list[str] | None = None
    payload: str = EXAMPLE

    def write(self, folder: Path | str) -> DatasetCard:
        """Writes all files but card and report; returns the card."""
        folder, counts, splits = str(folder), OutcomeCounts(), {}
        if not storage.is_remote(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
        with IndexWriter(folder) as index:
            for split in SPLITS:
                clips = [clip for clip in self.clips if clip.split == split]
                files = [f"{split}/clips-00000-of-00001.tfrecord"] if clips else []
                outcomes = self._write_file(folder, files, clips)
                for outcome in outcomes:
                    counts.add(outcome)
                    index.add(outcome, outcome.clips[0], files[0])
                if clips:
                    splits[split] = split_card(OutcomeCounts(outcomes), files)
        for name, cause, detail in self.failures:
            counts.add(InputOutcome(FAILED, InputClip(name, name, name), "decode", cause, detail))
        for name, rule in self.filtered:
            counts.add(InputOutcome(FILTERED, InputClip(name, name, name), "list", rule))
        self._write_lists(folder)
        across = sum(pair["first_split"] != pair["second_split"] for pair in self.pairs)
        return DatasetCard(
            geometry=self.geometry,
            labels=self.vocabulary or sorted({label for clip in self.clips for label in clip.labels}),
            splits=splits,
            inputs=counts.inputs,
            written=counts.kinds[WRITTEN],
            filtered=dict(sorted(counts.causes[FILTERED].items())),
            failed=dict(sorted(counts.causes[FAILED].items())),
            plan={"kind": "uniform"},
            payload=self.payload,
            silent=counts.flags["silent"],
            frozen=counts.flags["frozen"],
            duplicates={"across_splits": across, "within_splits": len(self.pairs) - across},
            preset="small",
            source="videos",
            command="python -m beam_jobs.preprocess --input videos --output data",
            configuration_hash="12ab",
            content_hash="34cd",
        )

    def _write_file(self, folder: str, names: list[str], clips: list[FakeClip]) -> list[InputOutcome]:
        if not clips:
            return []
        made = []
        with storage.open_write(storage.join(folder, names[0])) as file:
            records = RecordFile(file)
            for clip in clips:
                record = serialize(self._record(clip), self.geometry, self.payload)
                records.write(record)
                made.append(_outcome(clip, len(record)))
        return made

    def _record(self, clip: FakeClip) -> ClipRecord:
        geometry = self.geometry
        count = geometry.segments * geometry.frames_per_segment
        side = geometry.stored_short_side
        picture = np.broadcast_to(np.array(clip.colour, np.uint8), (side, side + 8, 3))
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=95)
        mel_shape = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
        noise = np.random.default_rng(len(clip.name)).normal(-4, 2, mel_shape).astype(np.float32)
        return ClipRecord(
            clip_id=clip.name,
            data_path=clip.name,
            start=0.0,
            end=clip.seconds,
            jpegs=[jpeg] * count if clip.video else None,
            image_times=np.linspace(0, clip.seconds, count).tolist() if clip.video else [],
            height=side if clip.video else 0,
            width=side + 8 if clip.video else 0,
            log_mel=noise if clip.audio else None,
            labels=clip.labels,
            label_indices=tuple(range(len(clip.labels))),
        )

    def _write_lists(self, folder: str) -> None:
        lists = {
            "failures": [_line(name, "decode", cause, detail) for name, cause, detail in self.failures],
            "filtered": [_line(name, "list", rule, "") for name, rule in self.filtered],
            "notes": [{"id": c.name, "path": c.name, "notes": list(c.notes)} for c in self.clips if c.notes],
        }
        for name, rows in lists.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            storage.write_text(storage.join(folder, "errors", f"{name}.jsonl"), text)
        text = "".join(json.dumps(pair) + "\n" for pair in self.pairs)
        storage.write_text(storage.join(folder, "duplicates.jsonl"), text)


def _line(name: str, stage: str, cause: str, detail: str) -> dict:
    return {"id": name, "path": name, "stage": stage, "cause": cause, "detail": detail}


def _outcome(clip: FakeClip, size: int) -> InputOutcome:
    written = WrittenClip(
        clip_id=clip.name,
        start=0.0,
        end=clip.seconds,
        bytes=size,
        has_video=clip.video,
        has_audio=clip.audio,
        silent=clip.silent,
        frozen=clip.frozen,
        loudness_db=clip.loudness_db if clip.audio else None,
        peak_db=-3.0 if clip.audio else None,
        motion=4.5 if clip.video else None,
        brightness=100.0 if clip.video else None,
        notes=clip.notes,
    )
    source = {
        "duration": clip.seconds,
        "frame_rate": clip.frame_rate if clip.video else 0.0,
        "width": 640 if clip.video else 0,
        "height": 480 if clip.video else 0,
        "video_codec": "h264" if clip.video else "",
        "audio_codec": "aac" if clip.audio else "",
        "sample_rate": 44100 if clip.audio else 0,
        "channels": 2 if clip.audio else 0,
    }
    one = InputClip(clip.name, clip.name, clip.name, labels=clip.labels, split=clip.split)
    return InputOutcome(WRITTEN, one, "decode", clips=(written,), source=source)


def pair(first: FakeClip, second: FakeClip) -> dict:
    """A line of duplicates.jsonl."""
    return {
        "first": first.name,
        "second": second.name,
        "first_split": first.split,
        "second_split": second.split,
        "what": "video",
        "is_whole": True,
        "video_distance": 0.03125,
        "audio_distance": None,
    }


def mixed(geometry: ClipGeometry, **changes: object) -> FakeDataset:
    """Thirty clips of three labels and none, in three splits; five without sound, three without pictures."""
    splits = ["train"] * 20 + ["validation"] * 6 + ["test"] * 4
    labels = [("cat",), ("cat",), ("dog",), ("cow",), ()]
    clips = [
        FakeClip(
            f"film{number:02d}.mp4",
            labels=labels[number % 5],
            split=split,
            seconds=1.0 + number % 7,
            audio=number % 6 != 1,
            video=number % 10 != 4,
            colour=(8 * number, 255 - 8 * number, 128),
            frame_rate=(25.0, 29.97, 12.5)[number % 3],
            loudness_db=-10.0 - number,
        )
        for number, split in enumerate(splits)
    ]
    dataset = FakeDataset(
        geometry,
        clips,
        failures=[("bad1.mp4", "open_failed", "no container"), ("bad2.mp4", "open_failed", "no container")]
        + [("short.mp4", "too_short", "the clip is 0.1 s")],
        filtered=[("readme.txt", "not_media_suffix"), (".hidden.mp4", "hidden")],
        pairs=[pair(clips[0], clips[26]), pair(clips[1], clips[2])],
    )
    return dataclasses.replace(dataset, **changes)


def label_counts(clips: list[FakeClip]) -> Counter:
    """Clips per label and split, counted anew."""
    return Counter((label, clip.split) for clip in clips for label in clip.labels)
