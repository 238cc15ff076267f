"""`pemt probe`: measures the features of a frozen network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.commands import arguments
from pemt_tf.commands.arguments import Commands, add_command, add_config, config_of, say, seed_number, whole_number
from pemt_tf.errors import PemtError
from pemt_tf.files.output_check import require_writable_file

if TYPE_CHECKING:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.probe import Probe, ProbePlan

SUMMARY = "measure frozen features: linear classifier, nearest neighbours, retrieval between audio and frames"
EXAMPLE = """pemt probe --model out/pretrained --data out/records
  pemt probe --model out/pretrained --data out/records --labels-per-class 5 --seed 1 --output five.json
  pemt probe --random-seed 0 --preset tiny --data out/records --output random.json"""


def add(commands: Commands) -> None:
    command = add_command(commands, "probe", _run, SUMMARY, EXAMPLE)
    add = command.add_argument
    add("--model", help="run of `pemt pretrain` or `pemt finetune`")
    add("--random-seed", type=seed_number, metavar="S", help="instead of --model: a network without training")
    add("--data", required=True, help=arguments.DATA)
    add("--train-split", default="train", help="clips to fit to (default: %(default)s)")
    add("--split", default="test", help="clips to measure on (default: %(default)s)")
    features = "pooled: CNN features averaged over segments; embedding: summary tokens (default: %(default)s)"
    add("--features", choices=("pooled", "embedding"), default="pooled", help=features)
    modalities = ("visual", "audio", "joint")
    add("--streams", nargs="+", choices=modalities, default=[], help="modalities to measure (default: all there are)")
    add("--labels-per-class", type=whole_number, metavar="N", help="fit to N clips of each label, sampled with --seed")
    add("--seed", type=seed_number, default=0, help="random seed for all sampling (default: %(default)s)")
    add("--gallery", type=int, default=1000, metavar="N", help="retrieve among N clips; 0: all (default: %(default)s)")
    add("--no-retrieval", action="store_true", help="classification only; clips without a label are not decoded")
    add("--batch-size", type=whole_number, default=16, help="clips per batch (default: %(default)s)")
    add_config(command)
    add("--output", help="JSON file (default: probe-SPLIT.json in the run's folder)")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.probe import ProbePlan

    if (options.model is None) == (options.random_seed is None):
        raise PemtError("give either --model RUN or --random-seed S")
    if options.gallery < 0:
        raise PemtError("--gallery is a whole number from 0")
    what = options.train_split, options.split, options.features, tuple(options.streams), options.labels_per_class
    plan = ProbePlan(*what, options.seed, options.gallery, not options.no_retrieval, options.batch_size)
    source = ClipSource.open(options.data)
    result, path = (_probe_untrained if options.model is None else _probe_run)(options, source, plan)
    result.write(path)
    for line in result.summary:
        say(line)
    say(f"details: {path}")


def _probe_run(options: argparse.Namespace, source: ClipSource, plan: ProbePlan) -> tuple[Probe, Path]:
    from pemt_tf.evaluation.pair_scores import read_pair_classifier
    from pemt_tf.evaluation.probe import probe
    from pemt_tf.training.run_directory import PAIR_CLASSIFIERS, RunDirectory

    run = RunDirectory(Path(options.model))
    run.require_finished()
    path = Path(options.output) if options.output else run.path / f"probe-{options.split}.json"
    require_writable_file(path, "--output")
    if options.preset or options.set:
        raise PemtError("--preset and --set are for --random-seed; a run has its own configuration")
    config = run.config()
    source.require_geometry(config.geometry)
    pair_classifier = None
    if config.pretrain.pair_weight > 0:  # else it was never trained
        pair_classifier = read_pair_classifier(run.path / PAIR_CLASSIFIERS)
    backbone, chosen_on = run.load_backbone(), config.finetune.validation_split
    about = run.description(), chosen_on, run.load_aligned_space()
    return probe(backbone, source, plan, str(run.path), pair_classifier, *about), path


def _probe_untrained(options: argparse.Namespace, source: ClipSource, plan: ProbePlan) -> tuple[Probe, Path]:
    import keras

    from pemt_tf.evaluation.probe import probe
    from pemt_tf.models.av_transformer import AVTransformer

    if not options.output:
        raise PemtError("--random-seed has no run to write to; give --output FILE.json")
    path = Path(options.output)
    require_writable_file(path, "--output")
    config = config_of(options)
    source.require_geometry(config.geometry)
    keras.utils.set_random_seed(options.random_seed)
    backbone = AVTransformer(config.model, name="backbone")
    backbone.build()
    return probe(backbone, source, plan, f"untrained, seed {options.random_seed}"), path
