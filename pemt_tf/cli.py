"""`pemt`: the command line. It parses, calls one function, and words what came out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

from pemt_tf import __version__
from pemt_tf.config import Config, load_config, preset_names
from pemt_tf.errors import PemtError


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the `pemt` command; returns the exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C."""
    quiet_libraries()
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:  # `pemt ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it at exit
        return 0
    return 0


def quiet_libraries() -> None:
    """Keeps TensorFlow's start-up notes and third-party version warnings off the user's screen."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def say(line: str = "") -> None:
    """Writes one line to standard output."""
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pemt",
        description="Parameter-efficient multimodal Transformers for video: pretrain, fine-tune, evaluate, serve.",
        epilog="Records are made by `python -m beam_jobs.preprocess`. Every command has --help with an example.",
    )
    parser.add_argument("--version", action="version", version=f"pemt-tf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_params, _add_pretrain, _add_finetune, _add_evaluate, _add_export, _add_predict, _add_search):
        add(commands)
    _add_convert(commands)
    _add_demo(commands)
    return parser


def _command(commands, name: str, run, summary: str, example: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_config(command: argparse.ArgumentParser, default: str | None) -> None:
    meaning = f"default: {default}" if default else "default: that of the data"
    command.add_argument(
        "--preset", default=default, help=f"preset ({', '.join(preset_names())}) or path of a .yaml file; {meaning}"
    )
    _add_overrides(command, "override one field of the configuration; may be repeated")


def _add_overrides(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help=meaning)


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    command.add_argument("--output", required=True, help="folder of the run; run again to go on after an interruption")
    command.add_argument(
        "--cpu-devices", type=int, default=1, metavar="N", help="split the CPU into N devices, to try data parallelism"
    )


def _add_params(commands) -> None:
    command = _command(
        commands,
        "params",
        _params,
        "count the model's parameters by part and by who shares them",
        "pemt params --preset avbert_base",
    )
    _add_config(command, "avbert_base")


def _params(options) -> None:
    from pemt_tf.models.parameter_report import parameter_report

    say(parameter_report(_config(options).model).table())


def _add_pretrain(commands) -> None:
    command = _command(
        commands,
        "pretrain",
        _pretrain,
        "pretrain without labels",
        "pemt pretrain --data out/records --preset tiny --output out/pretrained",
    )
    _add_training(command)
    _add_config(command, None)


def _pretrain(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.pretrain import pretrain
    from pemt_tf.training.strategy import use_cpu_devices

    use_cpu_devices(options.cpu_devices)
    source = ClipSource.open(options.data)
    run = pretrain(_config(options), source, options.output)
    say(f"pretrained model: {run.path}")


def _add_finetune(commands) -> None:
    command = _command(
        commands,
        "finetune",
        _finetune,
        "train a classifier on the labelled clips",
        "pemt finetune --data out/records --init out/pretrained --output out/finetuned",
    )
    _add_training(command)
    command.add_argument("--init", help="pretraining run to start from; without it training starts from scratch")
    _add_config(command, None)


def _finetune(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.finetune import finetune
    from pemt_tf.training.run_directory import RunDirectory
    from pemt_tf.training.strategy import use_cpu_devices

    use_cpu_devices(options.cpu_devices)
    source = ClipSource.open(options.data)
    initial = RunDirectory(Path(options.init)) if options.init else None
    if initial is not None and options.preset is None:
        config = initial.config().with_overrides(options.set)
    else:
        config = _config(options)
    run = finetune(config, source, options.output, initial=initial)
    say(f"fine-tuned model: {run.path}")


def _add_evaluate(commands) -> None:
    command = _command(
        commands,
        "evaluate",
        _evaluate,
        "measure a classifier on held-out clips",
        "pemt evaluate --model out/finetuned --data out/records --split test",
    )
    command.add_argument("--model", required=True, help="run of `pemt finetune`")
    command.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    command.add_argument("--split", default="test", help="train, validation or test (default: %(default)s)")
    command.add_argument("--batch-size", type=int, default=16, help="clips at once (default: %(default)s)")
    command.add_argument("--output", help="JSON file (default: evaluation-SPLIT.json in the run's folder)")


def _evaluate(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.classification import evaluate
    from pemt_tf.training.run_directory import RunDirectory

    run = RunDirectory(Path(options.model))
    result = evaluate(run, ClipSource.open(options.data), options.split, options.batch_size)
    path = Path(options.output) if options.output else run.path / f"evaluation-{options.split}.json"
    result.write(path)
    say(result.summary)
    say(f"details: {path}")


def _add_export(commands) -> None:
    command = _command(
        commands,
        "export",
        _export,
        "write a SavedModel for TF Serving, in the next numbered version folder",
        "pemt export --model out/finetuned --output out/servable",
    )
    command.add_argument("--model", required=True, help="run of `pemt finetune` or `pemt pretrain`")
    command.add_argument("--output", required=True, help="folder of versions, the model's base path in TF Serving")


def _export(options) -> None:
    from pemt_tf.export.saved_model import export_version
    from pemt_tf.training.run_directory import RunDirectory

    say(f"SavedModel: {export_version(RunDirectory(Path(options.model)), Path(options.output))}")


def _add_predict(commands) -> None:
    command = _command(
        commands,
        "predict",
        _predict,
        "classify video files with an exported SavedModel",
        "pemt predict clip.mp4 --model out/servable",
    )
    command.add_argument("video", nargs="+", help="media file")
    command.add_argument("--model", required=True, help="SavedModel, or the folder of its versions")
    command.add_argument("--top", type=int, default=3, help="labels to show (default: %(default)s)")
    command.add_argument("--start", type=float, help="begin of the clip, seconds")
    command.add_argument("--end", type=float, help="end of the clip, seconds")
    command.add_argument("--json", action="store_true", help="one JSON object per file instead of text")


def _predict(options) -> None:
    from pemt_tf.export.local_predictor import LocalPredictor, best_labels

    predictor = LocalPredictor(options.model)
    if not predictor.labels:
        raise PemtError(f"{predictor.directory} has no classifier; export a run of `pemt finetune`")
    failed = 0
    for video in options.video:
        try:
            record = predictor.record_of(video, options.start, options.end)
        except PemtError as error:
            sys.stderr.write(f"error: {error}\n")
            failed += 1
            continue
        best = best_labels(predictor.answer([record])["probabilities"][0], predictor.labels, options.top)
        if options.json:
            say(json.dumps({"path": video, "predictions": [{"label": n, "probability": p} for n, p in best]}))
        else:
            say(f"{video}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in best))
    if failed:
        raise PemtError(f"{failed} of {len(options.video)} files could not be classified")


def _add_search(commands) -> None:
    from pemt_tf import search_command

    command = _command(commands, "search", _search, search_command.SUMMARY, search_command.EXAMPLE)
    search_command.add_arguments(command)


def _search(options) -> None:
    from pemt_tf import search_command

    search_command.search_clips(options, say)


def _add_convert(commands) -> None:
    command = _command(
        commands,
        "convert",
        _convert,
        "turn the authors' PyTorch checkpoint into a run, without torch and without running its pickle code",
        "pemt convert checkpoint.pyth out/converted",
    )
    command.add_argument("checkpoint", help="the authors' file, zip or legacy format")
    command.add_argument("output", help="folder of the run, for finetune, evaluate and export")
    command.add_argument("--allow-missing", action="store_true", help="go on although names are missing or left over")
    command.add_argument("--labels", nargs="+", help="names of the classes, in the head's order")
    _add_overrides(command, "what no shape tells, such as model.heads=4, for other sizes than the released ones")


def _convert(options) -> None:
    from pemt_tf.export.checkpoint_converter import convert_checkpoint

    report = convert_checkpoint(options.checkpoint, options.output, options.allow_missing, options.set, options.labels)
    for kind, names in (("missing", report.missing), ("left over", report.left_over)):
        for name in names:
            say(f"{kind}: {name}")
    say(f"{len(report.assigned)} weights converted: {options.output}")


def _add_demo(commands) -> None:
    command = _command(
        commands,
        "demo",
        _demo,
        "run the whole way, from video files to a served prediction and a report",
        "pemt demo --output out/demo\n  pemt demo --output out/mine --videos /my/videos",
    )
    command.add_argument("--output", required=True, help="a new folder, or that of an interrupted demo")
    command.add_argument("--videos", help="your own videos; sub-folder names are labels (default: a made corpus)")
    command.add_argument("--seed", type=int, default=0, help="of the made corpus and the training")
    _add_overrides(command, "override one field of the training, such as pretrain.steps=5000; may be repeated")


def _demo(options) -> None:
    from pemt_tf.demo.run import run_demo

    videos = Path(options.videos) if options.videos else None
    run_demo(Path(options.output), videos, options.seed, options.set, say)


def _config(options) -> Config:
    """The configuration of --preset, or else the one that the data were made with."""
    config = Config.from_preset(options.preset) if options.preset else load_config(Path(options.data) / "config.json")
    return config.with_overrides(options.set)


if __name__ == "__main__":
    sys.exit(main())
