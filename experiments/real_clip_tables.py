"""The rows of the tables of the news clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.real_clips import NETWORKS, SEEDS
from pemt_tf.errors import PemtError

Share = Callable[[Sequence[float]], str]  # figures of the seeds to a cell
Rows = tuple[list[str], list[list[str]]]  # header and rows
Measures = dict[str, list[dict]]  # by network, one for each seed

NAMES = {"pretrained": "pretrained", "exchanged": "pretrained on exchanged audio", "random": "random"}
_BLOCKS = ("same_block", "other_blocks")


def read_measures(output: Path) -> tuple[dict[str, list[int]], Measures]:
    """The finished seeds of each network, and their figures; PemtError if a network has none."""
    seeds, found = {}, {}
    for network in NETWORKS:
        paths = {seed: output / "lrc_ar" / str(seed) / f"{network}.json" for seed in SEEDS}
        seeds[network] = [seed for seed, path in paths.items() if path.is_file()]
        if not seeds[network]:
            raise PemtError(f"{output}: no seed of lrc_ar/{network} is finished; run the part lrc_ar to its end")
        found[network] = [json.loads(paths[seed].read_text(encoding="utf-8")) for seed in seeds[network]]
    return seeds, found


def belonging(found: Measures, share: Share) -> Rows:
    """Accuracies on pairs that belong together or not, and in sync or not."""
    rows = []
    for network, measures in found.items():
        cells = [share([each["belongs"]["head"][kind] for each in measures]) for kind in _BLOCKS]
        for kind in _BLOCKS:
            values = [each["belongs"]["pair_classifier"][kind] for each in measures if network != "random"]
            cells.append(share(values) if values else "")
        cells += [share([each["sync"][shift] for each in measures]) for shift in ("0.2", "0.4")]
        rows.append([NAMES[network], *cells])
    kinds = [f"{judge}, {where}" for judge in ("head", "pair classifier") for where in ("same block", "other blocks")]
    return ["network", *kinds, "sync, 0.2 s", "sync, 0.4 s"], rows


def retrieval(found: Measures, share: Share) -> Rows:
    """Recall and the median ranks, seed by seed; the random network has no aligned space."""
    rows = []
    for method in found["pretrained"][0]["retrieval"]:
        for network, measures in found.items():
            for direction in ("audio_to_video", "video_to_audio"):
                figures = [each["retrieval"][method][direction] for each in measures if method in each["retrieval"]]
                if figures:
                    names = [name.replace("_", " ") for name in (method, direction)]
                    recalls = [share([one[f"recall_at_{k}"] for one in figures]) for k in (1, 5, 10)]
                    ranks = ", ".join(f"{one['median_rank']:g}" for one in figures)
                    rows.append([*names, NAMES[network], *recalls, ranks])
    return ["method", "direction", "network", "R@1", "R@5", "R@10", "median ranks of 200"], rows


def kinds_of_jobs(seeds: dict[str, list[int]]) -> list[tuple[str, list[str]]]:
    """What the jobs of a network do, and their names."""
    ends = [(network, "") for network in NETWORKS if network != "random"]
    ends += [(network, "/measure") for network in NETWORKS]
    return [
        (
            f"{NAMES[network]}: {'measuring' if end else 'pretraining'}",
            [f"lrc_ar/{seed}/{network}{end}" for seed in seeds[network]],
        )
        for network, end in ends
    ]


def caption(output: Path, seeds: dict[str, list[int]], found: Measures) -> str:
    """Seeds, numbers of clips, and near-duplicates."""
    lines = (output / "lrc_ar" / "records" / "duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    crossing = sum(pair["first_split"] != pair["second_split"] for pair in pairs)
    one = found["pretrained"][0]
    finished = "; ".join(f"{NAMES[network]} {', '.join(map(str, numbers))}" for network, numbers in seeds.items())
    return (
        f"Seeds: {finished}. Clips: {one['train_clips']} for training, {one['clips']} measured. "
        f"{len(pairs)} pairs of near-duplicates, {crossing} of them across the splits; their {one['near_duplicates']} "
        "held-out clips are not measured.\n"
    )
