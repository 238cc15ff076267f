"""Measures what a frozen network knows of which audio belongs to which frames, on held-out clips.

    python -m experiments.pair_measures --data out/records --model out/pretrained --output pretrained.json
    python -m experiments.pair_measures --data out/records --preset experiments/lrc_ar.yaml --output random.json

- `belongs`: accuracy on true and mismatched pairs, with mismatches from the same block of files or from others.
- `retrieval`: among 200 clips, by cosine, in the space that pretraining aligned, if it did, and by a linear map fitted
  on the training split.
- `sync`: accuracy on frames and audio at the same time or shifted, both of one clip.

Heads and maps are fitted on the training split. Held-out clips that the data preparation lists as near-duplicates of
training clips are not measured.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from experiments.block_split import TEST, TRAIN, block_of
from experiments.pair_heads import PairHead, Pairs, balanced_accuracy
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.near_duplicates import near_duplicates
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.linear_map import fit_linear_map
from pemt_tf.evaluation.pair_scores import pair_scores
from pemt_tf.evaluation.retrieval import cosine_scores, measure_retrieval
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.terminal.exit_code import exit_code_of

if TYPE_CHECKING:
    from pemt_tf.models.av_transformer import AVTransformer

GALLERY = 200
MISMATCHES = 4  # of every clip and kind, and as many repetitions of the true pair
WINDOW = 3  # segments that the sync head sees
SHIFTS = (1, 2)  # segments
SAME, OTHER = "same_block", "other_blocks"


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of the clips of a split that have all segments of both modalities; dicts by modality.

    Attributes:
        ids: [clips].
        blocks: [clips] int, see `block_split`.
        segments: [clips, segments, width], CNN features.
        contexts: [clips, 1 + segments, hidden], outputs of the modality's Transformer, summary token first.
    """

    ids: np.ndarray
    blocks: np.ndarray
    segments: dict[str, np.ndarray]
    contexts: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def pooled(self, modality: str) -> np.ndarray:
        """[clips, width]: CNN features, averaged over the segments."""
        return self.segments[modality].mean(axis=1)

    def summary(self, modality: str) -> np.ndarray:
        """[clips, hidden]: summary tokens."""
        return self.contexts[modality][:, 0]

    def take(self, rows: np.ndarray) -> FrozenFeatures:
        """Some of the clips, by number or as a mask."""
        parts = ({name: values[rows] for name, values in d.items()} for d in (self.segments, self.contexts))
        return FrozenFeatures(self.ids[rows], self.blocks[rows], *parts)


def extract(backbone: AVTransformer, source: ClipSource, batch_size: int = 16) -> dict[str, FrozenFeatures]:
    """Features of both splits by a frozen backbone, in the order of the ids."""
    from pemt_tf.data.input_pipeline import model_inputs
    from pemt_tf.data.split_pass import SplitPass

    modalities = backbone.config.modalities

    def features(batch: dict) -> dict:
        outputs = backbone(model_inputs(batch, modalities), training=False)
        return {
            "segments": {m: outputs[f"{m}_features"] for m in modalities},
            "contexts": {m: outputs[f"{m}_context"] for m in modalities},
            "masks": {m: batch[f"{m}_mask"] for m in modalities},
        }

    passes, found = SplitPass(source, features, batch_size), {}
    for split in (TRAIN, TEST):
        batches = list(passes.over(split, progress=f"features of {split}"))
        values = {
            part: {m: np.concatenate([b.values[part][m] for b in batches]) for m in modalities}
            for part in ("segments", "contexts", "masks")
        }
        ids = np.array([clip_id for batch in batches for clip_id in batch.ids])
        blocks = np.array([block_of(path) for batch in batches for path in batch.paths])
        whole = np.logical_and.reduce([mask.all(axis=1) for mask in values.pop("masks").values()])
        every = FrozenFeatures(ids, blocks, values["segments"], values["contexts"])
        found[split] = every.take(np.flatnonzero(whole)[np.argsort(ids[whole], kind="stable")])
    return found


def mismatches(blocks: np.ndarray, same: bool, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Clips and, for each, another one of the same block (or of another block), [pairs] each.

    Every clip comes `MISMATCHES` times, unless there is no such other.
    """
    clips, others = [], []
    for clip, block in enumerate(blocks):
        candidates = np.flatnonzero(((blocks == block) == same) & (np.arange(len(blocks)) != clip))
        if len(candidates):
            others.append(generator.choice(candidates, MISMATCHES))
            clips.append(np.full(MISMATCHES, clip))
    if not clips:
        raise PemtError(f"no clip has another one in {'the same block' if same else 'another block'}; give more files")
    return np.concatenate(clips), np.concatenate(others)


def clip_pairs(features: FrozenFeatures, kind: str, seed: int) -> tuple[Pairs, tuple[np.ndarray, np.ndarray]]:
    """True pairs and as many mismatched ones, and which clip gives the frames and which the audio of each."""
    clips, others = mismatches(features.blocks, kind == SAME, np.random.default_rng([seed, kind == SAME]))
    seen, heard = np.concatenate([clips, clips]), np.concatenate([clips, others])
    belong = np.repeat([1, 0], len(clips))
    visual, audio = (features.pooled(m)[rows, None] for m, rows in (("visual", seen), ("audio", heard)))
    return Pairs(visual, audio, belong, features.blocks[seen]), (seen, heard)


def shifted_pairs(features: FrozenFeatures, shift: int) -> Pairs:
    """Frames and audio of one clip, at the same time and `shift` segments apart, each window in as many of either.

    A clip's mean over all segments is taken off: who it is says nothing about the time.
    """
    visual, audio = (x - x.mean(axis=1, keepdims=True) for x in (features.segments[m] for m in ("visual", "audio")))
    count = visual.shape[1] - WINDOW + 1
    parts = []
    for start in range(count - shift):
        late = start + shift
        for seen, heard in ((start, start), (late, late), (start, late), (late, start)):
            windows = visual[:, seen : seen + WINDOW], audio[:, heard : heard + WINDOW]
            parts.append(Pairs(*windows, np.full(len(visual), int(seen == heard)), features.blocks))
    if not parts:
        raise PemtError(f"{visual.shape[1]} segments are too few for a shift of {shift}; it takes {WINDOW + shift}")
    return Pairs.join(parts)


@dataclass(frozen=True)
class Objectives:
    """What pretraining leaves beside the backbone.

    Attributes:
        pair_classifier: see `pair_scores.read_pair_classifier`; None without one.
        aligned_space: contexts of the modalities to vectors that can be compared; None without one.
    """

    pair_classifier: dict[str, np.ndarray] | None = None
    aligned_space: Callable[[dict], dict] | None = None


def measure(train: FrozenFeatures, test: FrozenFeatures, objectives: Objectives, seconds: float, seed: int) -> dict:
    """All figures.

    Args:
        train: features to fit to.
        test: features to measure on.
        objectives: those of pretraining.
        seconds: length of a segment.
        seed: random seed for mismatches and gallery.
    """
    head = PairHead.fit(Pairs.join([clip_pairs(train, kind, seed)[0] for kind in (SAME, OTHER)]))
    classifier = objectives.pair_classifier
    belongs: dict[str, dict] = {"head": {}} | ({} if classifier is None else {"pair_classifier": {}})
    for kind in (SAME, OTHER):
        pairs, (seen, heard) = clip_pairs(test, kind, seed)
        belongs["head"][kind] = balanced_accuracy(head.logits(pairs), pairs.belong)
        if classifier is not None:
            scores = pair_scores(classifier, test.summary("audio"), test.summary("visual"))(slice(0, len(test)))
            belongs["pair_classifier"][kind] = balanced_accuracy(scores[heard, seen], pairs.belong)
    sync = {}
    for shift in SHIFTS:
        late, pairs = PairHead.fit(shifted_pairs(train, shift)), shifted_pairs(test, shift)
        sync[f"{shift * seconds:.1f}"] = balanced_accuracy(late.logits(pairs), pairs.belong)
    retrieval = measure_gallery(train, test, objectives, seed)
    return {"train_clips": len(train), "clips": len(test), "belongs": belongs, "retrieval": retrieval, "sync": sync}


def measure_gallery(train: FrozenFeatures, test: FrozenFeatures, objectives: Objectives, seed: int) -> dict:
    """Retrieval among `GALLERY` held-out clips: `cosine`, `linear_map` and, where there is one, `aligned_space`."""
    if len(test) < GALLERY:
        raise PemtError(f"{len(test)} held-out clips are too few; retrieval is among {GALLERY}")
    gallery = test.take(np.sort(np.random.default_rng(seed).permutation(len(test))[:GALLERY]))
    fitted = fit_linear_map(train.pooled("audio"), train.pooled("visual"), train.blocks, seed)
    scores = {
        "cosine": cosine_scores(gallery.summary("audio"), gallery.summary("visual")),
        "linear_map": fitted.scores(gallery.pooled("audio"), gallery.pooled("visual")),
    }
    if objectives.aligned_space is not None:
        placed = objectives.aligned_space(gallery.contexts)
        scores["aligned_space"] = cosine_scores(*(np.asarray(placed[m]) for m in ("audio", "visual")))
    return {method: measure_retrieval(found, GALLERY) for method, found in scores.items()}


def measure_network(source: ClipSource, model: Path | None, preset: str | None, seed: int) -> dict:
    """Figures of a pretrained run, or of an untrained network of a preset, on a data set with a data card."""
    backbone, objectives = _pretrained(model, source) if model else (_untrained(preset, source, seed), Objectives())
    found = extract(backbone, source)
    near = near_duplicates(Path(source.name), TEST, [TRAIN])
    test = found[TEST].take(~np.isin(found[TEST].ids, sorted(near)))
    figures = measure(found[TRAIN], test, objectives, source.geometry.segment_seconds, seed)
    return {"near_duplicates": len(found[TEST]) - len(test), **figures}


def _pretrained(model: Path, source: ClipSource) -> tuple[AVTransformer, Objectives]:
    from pemt_tf.evaluation.pair_scores import read_pair_classifier
    from pemt_tf.training.run_directory import PAIR_CLASSIFIERS, RunDirectory

    run = RunDirectory(model)
    run.require_finished()
    config = run.config()
    source.require_geometry(config.geometry)
    classifier = read_pair_classifier(run.path / PAIR_CLASSIFIERS) if config.pretrain.pair_weight else None
    return run.load_backbone(), Objectives(classifier, run.load_aligned_space())


def _untrained(preset: str | None, source: ClipSource, seed: int) -> AVTransformer:
    import keras

    from pemt_tf.config import Config
    from pemt_tf.models.av_transformer import AVTransformer

    if preset is None:
        raise PemtError("give either --model RUN or --preset FILE, for a network without training")
    config = Config.from_preset(preset)
    source.require_geometry(config.geometry)
    keras.utils.set_random_seed(seed)
    backbone = AVTransformer(config.model, name="backbone")
    backbone.build()
    return backbone


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: python -m experiments.pair_measures --data out/records --model out/pretrained --output m.json",
    )
    parser.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    parser.add_argument("--model", type=Path, help="run of `pemt pretrain`")
    parser.add_argument("--preset", help="instead of --model: a network without training")
    parser.add_argument("--seed", type=int, default=0, help="random seed for all sampling (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    options = parser.parse_args(arguments)

    def work() -> None:
        figures = measure_network(ClipSource.open(options.data), options.model, options.preset, options.seed)
        write_text(options.output, json_text(figures) + "\n", make_folder=True)
        sys.stdout.write(f"{figures['clips']} held-out clips: {options.output}\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
