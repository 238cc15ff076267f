"""Reads the index of a data set for its report: two passes, row group by row group; memory does not grow with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.finish.dataset_index import INDEX_NAME, column, numbers
from beam_jobs.report.quantities import QUANTITIES, Quantity, round_edges
from pemt_tf.data.dataset_card import SPLITS, DatasetCard
from pemt_tf.errors import PemtError

SAMPLES = 24
FLAGGED_SHOWN = 8
MOST_KINDS = 10_000  # different values of one source property that are counted one by one

# Title of a table, its columns in the index, and how a value is worded; None where there is nothing to count.
PROPERTIES = (
    ("Video codec", ("source_video_codec",), lambda codec: codec or None),
    ("Frame size", ("source_width", "source_height"), lambda width, height: f"{width} × {height}" if width else None),
    ("Frames per second", ("source_frame_rate",), lambda rate: f"{rate:.2f}" if rate else None),
    ("Audio codec", ("source_audio_codec",), lambda codec: codec or None),
    ("Sample rate", ("source_sample_rate",), lambda rate: f"{rate:,} Hz" if rate else None),
    ("Channels", ("source_channels",), lambda channels: f"{channels:,}" if channels else None),
)
ROW_COLUMNS = ("id", "path", "start", "end", "labels", "split", "file", "row", "silent", "frozen", "notes")

Group = tuple[str, "str | None"]  # a split and a label, None for unlabelled clips


@dataclass(frozen=True)
class IndexRow:
    """One clip as the index has it; see `beam_jobs.finish.dataset_index.SCHEMA`."""

    id: str
    path: str
    start: float
    end: float
    labels: list[str]
    split: str
    file: str
    row: int
    silent: bool
    frozen: bool
    notes: list[str]


@dataclass
class Histogram:
    """How a quantity is spread."""

    quantity: Quantity
    clips: int = 0  # those that have a figure
    missing: int = 0  # those without one
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    edges: tuple[float, ...] = ()  # one more than there are columns
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # clips in each column

    def measure(self, table: pa.Table) -> None:
        """First pass: how far the figures reach."""
        values = self.quantity.values(table)
        known = values[~np.isnan(values)]
        self.missing += len(values) - len(known)
        if len(known):
            self.clips += len(known)
            self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))
            self.total += float(known.sum())

    def lay_out(self) -> None:
        """Between the passes: chooses the columns."""
        if self.clips:
            self.edges = round_edges(self.low, self.high, self.quantity.smallest_step)
            self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def count(self, table: pa.Table) -> None:
        """Second pass."""
        values = self.quantity.values(table)
        places = np.searchsorted(self.edges, values[~np.isnan(values)], side="right") - 1
        self.counts += np.bincount(np.clip(places, 0, len(self.counts) - 1), minlength=len(self.counts))


@dataclass
class IndexFacts:
    """What the report takes from the index."""

    clips: int = 0
    bytes: Counter = field(default_factory=Counter)  # size of the records, by split
    histograms: list[Histogram] = field(default_factory=lambda: [Histogram(quantity) for quantity in QUANTITIES])
    properties: dict[str, Counter] = field(default_factory=lambda: {title: Counter() for title, _, _ in PROPERTIES})
    samples: list[IndexRow] = field(default_factory=list)  # to show, spread over splits and labels
    flagged: list[IndexRow] = field(default_factory=list)  # some silent and frozen ones
    wanted: dict[str, IndexRow] = field(default_factory=dict)  # those asked for, by id, as far as they are there


def read_index(folder: str, card: DatasetCard, wanted: Collection[str] = ()) -> IndexFacts:
    """Reads the index, which must have as many clips as the card says; `wanted` are ids of clips to find."""
    with storage.local_copy(storage.join(folder, INDEX_NAME)) as local, pq.ParquetFile(local) as file:
        facts, groups = _first_pass(file)
        if facts.clips != card.clips:
            raise PemtError(
                f"{storage.join(folder, INDEX_NAME)} lists {facts.clips} clips, but {card.clips} were counted; "
                "run the job again"
            )
        _second_pass(file, facts, chosen_places(groups, SAMPLES), wanted)
    return facts


def _tables(file: pq.ParquetFile, columns: set[str]) -> Iterator[pa.Table]:
    for group in range(file.num_row_groups):
        yield file.read_row_group(group, columns=sorted(columns))


def _first_pass(file: pq.ParquetFile) -> tuple[IndexFacts, Counter]:
    facts, groups = IndexFacts(), Counter()
    columns = {name for one in QUANTITIES for name in one.columns} | {
        name for _, names, _ in PROPERTIES for name in names
    }
    for table in _tables(file, columns | {"split", "label", "bytes"}):
        facts.clips += len(table)
        splits, labels = table["split"].to_pylist(), table["label"].to_pylist()
        groups.update(zip(splits, labels, strict=True))
        for split, size in zip(splits, table["bytes"].to_pylist(), strict=True):
            facts.bytes[split] += size
        for histogram in facts.histograms:
            histogram.measure(table)
        for title, names, word in PROPERTIES:
            _count_property(facts.properties[title], [table[name].to_pylist() for name in names], word)
    return facts, groups


def _count_property(counter: Counter, columns: list[list], word) -> None:
    for values, count in Counter(zip(*columns, strict=True)).items():
        name = word(*values)
        if name is not None:
            counter[name if name in counter or len(counter) < MOST_KINDS else "others"] += count


def _second_pass(
    file: pq.ParquetFile, facts: IndexFacts, places: dict[Group, list[int]], wanted: Collection[str]
) -> None:
    for histogram in facts.histograms:
        histogram.lay_out()
    columns = {name for one in QUANTITIES for name in one.columns} | {*ROW_COLUMNS, "label"}
    seen: Counter = Counter()
    samples: dict[Group, list[IndexRow]] = {group: [] for group in places}
    flagged: dict[str, list[IndexRow]] = {"silent": [], "frozen": []}
    ids = column(sorted(wanted), pa.string())
    for table in _tables(file, columns):
        for histogram in facts.histograms:
            if histogram.clips:
                histogram.count(table)
        for group in places:
            rows = np.flatnonzero(_is_in_group(table, group))
            here = [rows[place - seen[group]] for place in places[group] if 0 <= place - seen[group] < len(rows)]
            seen[group] += len(rows)
            samples[group] += _rows(table, here)
        for flag, found in flagged.items():
            found += _rows(table, np.flatnonzero(numbers(table[flag]))[: FLAGGED_SHOWN - len(found)])
        if len(ids):
            there = np.flatnonzero(numbers(pc.is_in(table["id"], value_set=ids)))
            facts.wanted |= {row.id: row for row in _rows(table, there)}
    facts.samples = [row for rows in samples.values() for row in rows]
    both = {row.id: row for pair in _interleaved(flagged["silent"], flagged["frozen"]) for row in pair}
    facts.flagged = list(both.values())[:FLAGGED_SHOWN]


def _is_in_group(table: pa.Table, group: Group) -> np.ndarray:
    same = (
        pc.is_in(table[name], value_set=column([value], pa.string()))  # null is in a set that has it
        for name, value in zip(("split", "label"), group, strict=True)
    )
    return numbers(pc.and_(*same))


def _rows(table: pa.Table, places: Collection[int]) -> list[IndexRow]:
    chosen = table.select(ROW_COLUMNS)
    return [IndexRow(**row) for place in places for row in chosen.slice(place, 1).to_pylist()]


def _interleaved(first: list, second: list) -> Iterator[list]:
    for place in range(max(len(first), len(second))):
        yield first[place : place + 1] + second[place : place + 1]


def chosen_places(groups: dict[Group, int], most: int) -> dict[Group, list[int]]:
    """Which clips of each group to show, as places among the group's clips, given the groups' sizes.

    Every split gets the same number as far as it has clips, and so does every label in it. If a split has more labels
    than it may show clips, evenly spread ones are shown.
    """
    splits = [split for split in SPLITS if any(one == split for one, _ in groups)]
    labels = {split: _labels(groups, split) for split in splits}
    quotas = shared_out(most, [sum(groups[split, label] for label in labels[split]) for split in splits])
    places = {}
    for split, quota in zip(splits, quotas, strict=True):
        shown = min(quota, len(labels[split]))
        some = [labels[split][number * len(labels[split]) // shown] for number in range(shown)]
        counts = [groups[split, label] for label in some]
        for label, count, number in zip(some, counts, shared_out(quota, counts), strict=True):
            places[split, label] = [(2 * place + 1) * count // (2 * number) for place in range(number)]
    return places


def shared_out(total: int, room: list[int]) -> list[int]:
    """Gives `total` things to takers, one each in turn, none more than it has room for."""
    given = [0] * len(room)
    while sum(given) < min(total, sum(room)):
        for taker, most in enumerate(room):
            if given[taker] < most and sum(given) < total:
                given[taker] += 1
    return given


def _labels(groups: dict[Group, int], split: str) -> list[str | None]:
    """The labels of a split, by name; unlabelled clips come last."""
    return sorted((label for one, label in groups if one == split), key=lambda label: (label is None, label or ""))
