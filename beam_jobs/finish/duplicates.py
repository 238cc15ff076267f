"""Finds and drops near-duplicates, above all across splits: results on clips that were trained on look too good.

Every clip has a perceptual hash of its frames and one of its audio (`decoded_clip`). Comparing all pairs would
take too long for large sets. So random samples of the bits are compared first (locality-sensitive hashing), and only
clips that agree in one of many samples are compared as a whole.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beam_jobs.engines import storage
from beam_jobs.plan.shards import Shard
from beam_jobs.worker.outcomes import FILTERED, InputOutcome, SkippedWindow, read_outcomes
from beam_jobs.worker.shard_maker import ShardWriter
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.formats.named import record_files
from pemt_tf.formats.record_files import RecordShape
from pemt_tf.media.decoded_clip import HASH_BYTES

# Shares of differing bits up to which clips are near-duplicates; unrelated clips differ in half of the bits.
LIMITS = {"video": 0.12, "audio": 0.15}
BANDS = 32  # samples of bits
BAND_BITS = 20  # bits of a sample, at least; large sets need more, or unrelated clips agree by chance
LARGEST_BUCKET = 64  # clips that agree in one sample; of more, only the most similar are compared
NEIGHBOURS = 8
MEANING_BITS = 6  # set bits, of a segment's 64; a hash with fewer means nothing: black frames, silence
MEANING_SEGMENTS = 0.5  # share of segments whose hashes must mean something in both clips
SET_BITS = np.array([number.bit_count() for number in range(256)], np.uint8)


@dataclass(frozen=True)
class DuplicatePair:
    """Two clips of different groups that are near-duplicates."""

    first: str  # clip id; the pair is in the order train, validation, test
    second: str
    first_split: str
    second_split: str
    what: str  # `video and audio`, `video` or `audio`
    is_whole: bool  # they agree in every modality that both have
    video_distance: float | None  # share of differing bits; None where not both have the modality
    audio_distance: float | None
    left_out: tuple[str, ...] = ()  # ids of those that `--drop_duplicates` filtered

    @property
    def is_across(self) -> bool:
        """Whether the splits differ."""
        return self.first_split != self.second_split


def near_training(pairs: list[DuplicatePair]) -> dict[str, set[str]]:
    """Ids of the clips in the data set that are near-duplicates of a training clip, by split."""
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for pair in pairs:
        if pair.is_across and pair.first_split == "train" and not pair.left_out:
            found[pair.second_split].add(pair.second)
    return found


class Fingerprints:
    """Collects the clips' hashes, about 200 bytes a clip."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._splits: list[int] = []
        self._groups: list[int] = []
        self._group_numbers: dict[str, int] = {}
        self._hashes: dict[str, list[bytes]] = {"video": [], "audio": []}

    def add(self, outcome: InputOutcome) -> None:
        """Takes the clips of an outcome."""
        if not outcome.clips or outcome.input.split is None:
            return
        group = self._group_numbers.setdefault(outcome.input.group_name, len(self._group_numbers))
        for clip in outcome.clips:
            self._ids.append(clip.clip_id)
            self._splits.append(SPLITS.index(outcome.input.split))
            self._groups.append(group)
            self._hashes["video"].append(b"" if clip.frozen else bytes.fromhex(clip.picture_hash))
            self._hashes["audio"].append(b"" if clip.silent else bytes.fromhex(clip.sound_hash))

    def pairs(self) -> list[DuplicatePair]:
        """All near-duplicates, those across splits first, then by id."""
        tables = {modality: _HashTable(hashes) for modality, hashes in self._hashes.items()}
        candidates = {pair for table in tables.values() for pair in table.candidates()}
        found = []
        for one, other in sorted(candidates):
            if self._groups[one] == self._groups[other]:
                continue  # windows of one video look the same
            pair = self._compare(one, other, tables)
            if pair is not None:
                found.append(pair)
        return sorted(found, key=lambda pair: (not pair.is_across, pair.first, pair.second))

    def _compare(self, one: int, other: int, tables: dict[str, _HashTable]) -> DuplicatePair | None:
        distances = {modality: table.distance(one, other) for modality, table in tables.items()}
        known = {modality: distance for modality, distance in distances.items() if distance is not None}
        same = [modality for modality, distance in known.items() if distance <= LIMITS[modality]]
        if not same:
            return None
        first, second = sorted((one, other), key=lambda place: (self._splits[place], self._ids[place]))
        return DuplicatePair(
            self._ids[first],
            self._ids[second],
            SPLITS[self._splits[first]],
            SPLITS[self._splits[second]],
            " and ".join(same),
            len(same) == len(known),
            distances["video"],
            distances["audio"],
        )


def to_drop(pairs: list[DuplicatePair], also_within: bool) -> dict[str, DuplicatePair]:
    """Which clips to drop, each with a pair that is the reason.

    Of a set of near-duplicates, those in the split farthest from training stay, so that the test split does not change.
    With `also_within`, only the first of them (by id) stays. Clips that agree in one modality only, such as dubbed
    films, stay.
    """
    pairs = [pair for pair in pairs if pair.is_whole]
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for pair in pairs:
        first, second = sorted((root(pair.first), root(pair.second)))
        parents[second] = first
    split_of = {pair.first: pair.first_split for pair in pairs} | {pair.second: pair.second_split for pair in pairs}
    kept: dict[str, tuple[int, str]] = {}  # for each set of near-duplicates: the farthest split, and its first id
    for name, split in split_of.items():
        key = (-SPLITS.index(split), name)
        kept[root(name)] = min(kept.get(root(name), key), key)
    why = {name: pair for pair in reversed(pairs) for name in (pair.first, pair.second)}
    dropped = {}
    for name, split in sorted(split_of.items()):
        depth, first = kept[root(name)]
        if -SPLITS.index(split) != depth or (also_within and name != first):
            dropped[name] = why[name]
    return dropped


def drop_clips(folder: str, shards: list[Shard], unwanted: dict[str, DuplicatePair], shape: RecordShape) -> None:
    """Rewrites every shard that holds an unwanted clip without it; the clip counts as filtered."""
    for shard in shards:
        outcomes = list(read_outcomes(storage.join(folder, shard.outcome_name)))
        if any(clip.clip_id in unwanted for outcome in outcomes for clip in outcome.clips):
            _rewrite(folder, shard, outcomes, unwanted, shape)


def _rewrite(
    folder: str, shard: Shard, outcomes: list[InputOutcome], unwanted: dict[str, DuplicatePair], shape: RecordShape
) -> None:
    # Without its statistics the shard is unfinished: if the job is killed in between, the next run makes it again.
    storage.remove(storage.join(folder, shard.stats_name))
    with tempfile.TemporaryDirectory() as scratch:
        old = Path(scratch, "clips")
        with storage.local_copy(storage.join(folder, shard.name)) as local:
            old.write_bytes(Path(local).read_bytes())
        storage.remove(storage.join(folder, shard.name))
        with ShardWriter(folder, shard, shape) as writer:
            records = record_files(shard.format).records(old, shape)
            for outcome in outcomes:
                for clip in outcome.clips:
                    record = next(records)
                    if clip.clip_id not in unwanted:
                        writer.write(record)
                writer.note(_without(outcome, unwanted))
            writer.finish()


def _without(outcome: InputOutcome, unwanted: dict[str, DuplicatePair]) -> InputOutcome:
    dropped = tuple(
        SkippedWindow(clip.start, clip.end, FILTERED, "duplicate", _why(clip.clip_id, unwanted[clip.clip_id]))
        for clip in outcome.clips
        if clip.clip_id in unwanted
    )
    if not dropped:
        return outcome
    clips = tuple(clip for clip in outcome.clips if clip.clip_id not in unwanted)
    if clips:
        return dataclasses.replace(outcome, clips=clips, left_out=outcome.left_out + dropped)
    return InputOutcome(
        FILTERED, outcome.input, "duplicates", "duplicate", dropped[0].detail, left_out=dropped, source=outcome.source
    )


def _why(name: str, pair: DuplicatePair) -> str:
    other, split = (pair.second, pair.second_split) if pair.first == name else (pair.first, pair.first_split)
    return f"same {pair.what} as {other} in the {split} split"


class _HashTable:
    """The hashes of one modality."""

    def __init__(self, hashes: list[bytes]) -> None:
        width = max((len(one) for one in hashes), default=0)
        self._bytes = np.zeros((len(hashes), width), np.uint8)
        for row, one in enumerate(hashes):
            self._bytes[row, : len(one)] = np.frombuffer(one, np.uint8)
        set_bits = SET_BITS[self._bytes].reshape(len(hashes), -1, HASH_BYTES)
        self._has_meaning = set_bits.sum(axis=2) >= MEANING_BITS  # [clips, segments]

    def distance(self, one: int, other: int) -> float | None:
        """Share of differing bits in the segments that mean something in both; None if these are too few."""
        both = self._has_meaning[one] & self._has_meaning[other]
        if not both.any() or both.mean() < MEANING_SEGMENTS:
            return None
        differing = (self._bytes[one] ^ self._bytes[other]).reshape(len(both), HASH_BYTES)[both]
        return float(np.unpackbits(differing).mean())

    def candidates(self) -> Iterator[tuple[int, int]]:
        """Yields pairs that agree in one of many samples of bits."""
        if not self._has_meaning.size:
            return
        places = np.flatnonzero(self._has_meaning.mean(axis=1) >= MEANING_SEGMENTS)
        if len(places) < 2:
            return
        rng = np.random.default_rng(0)
        count = 8 * self._bytes.shape[1]
        sampled = min(max(BAND_BITS, len(places).bit_length() + 4), 30, count)
        for _ in range(BANDS):
            keys = np.zeros(len(places), np.int32)
            for bit in rng.choice(count, sampled, replace=False):
                keys = keys << 1 | (self._bytes[places, bit // 8] >> (bit % 8)) & 1
            order = np.argsort(keys, kind="stable")
            borders = np.flatnonzero(np.diff(keys[order])) + 1
            for bucket in np.split(order, borders):
                if len(bucket) > 1:
                    yield from self._neighbours(places[bucket].tolist())

    def _neighbours(self, members: list[int]) -> Iterator[tuple[int, int]]:
        reach = len(members) if len(members) <= LARGEST_BUCKET else NEIGHBOURS
        members.sort(key=lambda place: (self._bytes[place].tobytes(), place))
        for at, one in enumerate(members):
            yield from ((min(one, other), max(one, other)) for other in members[at + 1 : at + 1 + reach])
