"""`pemt probe`: what a frozen network knows."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.commands.arguments import add_command, add_config, config_of, say, seed_number, whole_number
from pemt_tf.errors import PemtError
from pemt_tf.files.output_check import require_writable_file


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "probe",
        _run,
        "measure frozen features: linear classifier, neighbours, retrieval between sound and pictures",
        "pemt probe --model out/pretrained --data out/records\n"
        "  pemt probe --model out/pretrained --data out/records --labels-per-class 5 --seed 1 --output five.json\n"
        "  pemt probe --random-seed 0 --preset tiny --data out/records --output random.json",
    )
    command.add_argument("--model", help="run of `pemt pretrain` or `pemt finetune`")
    command.add_argument(
        "--random-seed", type=seed_number, metavar="S", help="in the place of --model: a network without training"
    )
    command.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    command.add_argument("--train-split", default="train", help="clips to fit to (default: %(default)s)")
    command.add_argument("--split", default="test", help="clips to measure on (default: %(default)s)")
    command.add_argument(
        "--features",
        choices=("pooled", "embedding"),
        default="pooled",
        help="pooled: CNN features averaged over segments; embedding: summary tokens (default: %(default)s)",
    )
    command.add_argument(
        "--streams", nargs="+", choices=("visual", "audio", "joint"), default=[], help="which (default: all there are)"
    )
    command.add_argument(
        "--labels-per-class", type=whole_number, metavar="N", help="fit to N clips of each label, drawn by --seed"
    )
    command.add_argument("--seed", type=seed_number, default=0, help="of all that is drawn (default: %(default)s)")
    command.add_argument(
        "--gallery", type=int, default=1000, metavar="N", help="retrieve among N clips; 0: all (default: %(default)s)"
    )
    command.add_argument(
        "--no-retrieval", action="store_true", help="classification only; clips without a label are not decoded"
    )
    command.add_argument("--batch-size", type=whole_number, default=16, help="clips at once (default: %(default)s)")
    add_config(command, default=None)
    command.add_argument("--output", help="JSON file (default: probe-SPLIT.json in the run's folder)")


def _run(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.probe import ProbePlan, probe
    from pemt_tf.training.run_directory import RunDirectory

    if (options.model is None) == (options.random_seed is None):
        raise PemtError("give either --model RUN or --random-seed S")
    if options.gallery < 0 or options.seed < 0:
        raise PemtError("--gallery and --seed are whole numbers from 0")
    plan = ProbePlan(
        options.train_split,
        options.split,
        options.features,
        tuple(options.streams),
        options.labels_per_class,
        options.seed,
        options.gallery,
        not options.no_retrieval,
        options.batch_size,
    )
    source = ClipSource.open(options.data)
    path = _result_file(options)
    require_writable_file(path, "--output")
    backbone, name, pair_classifier = _subject(options, source)
    about = {}
    if options.model is not None:
        run = RunDirectory(Path(options.model))
        about = {"description": run.description(), "validation_split": run.config().finetune.validation_split}
    result = probe(backbone, source, plan, name, pair_classifier, **about)
    result.write(path)
    for line in result.summary:
        say(line)
    say(f"details: {path}")


def _result_file(options) -> Path:
    if options.model is None and not options.output:
        raise PemtError("--random-seed has no run to write to; give --output FILE.json")
    if options.output:
        return Path(options.output)
    from pemt_tf.training.run_directory import RunDirectory

    run = RunDirectory(Path(options.model))
    run.require_finished()
    return run.path / f"probe-{options.split}.json"


def _subject(options, source):
    """The network to probe, its name and its pair classifier."""
    import keras

    from pemt_tf.evaluation.pair_scores import read_pair_classifier
    from pemt_tf.models.av_transformer import AVTransformer
    from pemt_tf.training.run_directory import PAIR_CLASSIFIERS, RunDirectory

    if options.model is None:
        config = config_of(options)
        source.require_geometry(config.geometry)
        keras.utils.set_random_seed(options.random_seed)
        backbone = AVTransformer(config.model, name="backbone")
        backbone.build()
        return backbone, f"untrained, seed {options.random_seed}", None
    if options.preset or options.set:
        raise PemtError("--preset and --set are for --random-seed; a run has its own configuration")
    run = RunDirectory(Path(options.model))
    source.require_geometry(run.config().geometry)
    pair_classifier = None
    if run.config().pretrain.pair_weight > 0:  # else it was never trained
        pair_classifier = read_pair_classifier(run.path / PAIR_CLASSIFIERS)
    return run.load_backbone(), str(run.path), pair_classifier
