"""Which commands make the tables of docs/RESULTS.md, and where each leaves its figures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.jobs import Job

HERE = Path(os.path.relpath(Path(__file__).parent))  # as one would type it
ESC10, DIGITS = str(HERE / "esc10.yaml"), str(HERE / "digits.yaml")
CLI = "pemt_tf.cli"
FOLDS = (1, 2, 3, 4, 5)
SEEDS = (0, 1, 2)
LABELS = (1, 5, 20)  # labelled clips of each digit
STREAMS = ("audio", "visual", "both")
FROZEN_LABELS = 5  # for the linear classifiers of the ablations
NOISES = ("none", "pixels", "sound")
NOISY_LABELS = 5
DIGIT_SEED = 0
START_SEEDS = tuple(range(10))
START_LEAST = 0.85  # accuracy of a linear classifier on both streams that every seed is to reach

# Ablations: table, row, and what differs from experiments/digits.yaml, whose own settings are the row named "*".
ABLATIONS = (
    ("sharing", "none", "model.sharing=none"),
    ("sharing", "layers", "model.sharing=layers"),
    ("sharing", "layers_and_modalities", "model.sharing=layers_and_modalities"),
    ("sharing", "low_rank *", ""),
    ("fusion", "early", "model.fusion=early"),
    ("fusion", "mid *", ""),
    ("fusion", "late", "model.fusion=late"),
    ("negatives", "current_sequence", "pretrain.negatives=current_sequence"),
    ("negatives", "mini_batch", "pretrain.negatives=mini_batch"),
    ("negatives", "cans_similar *", ""),
    ("negatives", "cans_dissimilar", "pretrain.negatives=cans_dissimilar"),
    ("pairs", "with *", ""),
    ("pairs", "without", "pretrain.pair_weight=0"),
)
# Row of the tables about alignment, and what differs from experiments/digits.yaml.
ALIGNMENT = (("without *", ""), ("with", "pretrain.alignment_weight=1"))


@dataclass(frozen=True)
class Sources:
    """Where the data are.

    Attributes:
        esc10: folders of ESC-10's recordings, one a class.
        fsdd: folder of the recordings of FSDD.
        mnist: CSV file of MNIST.
        lrc_ar: folder of the news clips of LRC-AR.
    """

    esc10: Path
    fsdd: Path
    mnist: Path
    lrc_ar: Path


def esc10_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Five folds, sound only: from scratch, on frozen features, fine-tuned, random features, and without a network."""
    for fold in FOLDS:
        name, folder = f"esc10/{fold}", output / "esc10" / str(fold)
        manifest, records = folder / "manifest.csv", folder / "records"
        data = ("--data", str(records))
        yield Job(
            f"{name}/manifest",
            "beam_jobs.datasets",
            (
                *("esc50", "--subset", "esc10", "--root", str(sources.esc10)),
                *("--fold", str(fold), "--output", str(manifest)),
            ),
            manifest,
        )
        yield Job(
            f"{name}/records",
            "beam_jobs.preprocess",
            (
                *("--input", str(manifest), "--input_root", str(sources.esc10)),
                *("--output", str(records), "--preset", ESC10),
            ),
            records / "dataset_card.json",
            (f"{name}/manifest",),
        )
        ready = (f"{name}/records",)
        baseline = folder / "baseline.json"
        yield Job(
            f"{name}/baseline", "experiments.log_mel_baseline", (*data, "--output", str(baseline)), baseline, ready
        )
        yield from _train(ESC10, f"{name}/pretrain", "pretrain", records, folder / "pretrained", ready)
        pretrained = (f"{name}/pretrain",)
        for kind, model, needs in (
            ("probe", ("--model", str(folder / "pretrained")), pretrained),
            ("random", ("--random-seed", "0"), ready),
        ):
            result = folder / f"{kind}.json"
            arguments = ("probe", *model, *data, "--no-retrieval", "--output", str(result))
            yield Job(f"{name}/{kind}", CLI, arguments, result, needs)
        yield from _finetune(ESC10, f"{name}/scratch", records, folder / "scratch", ready)
        yield from _finetune(
            ESC10, f"{name}/finetune", records, folder / "finetuned", pretrained, ("--init", str(folder / "pretrained"))
        )


def digit_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Audio-visual digits: pretrained and not, few labels, each stream alone and both, retrieval; and with noise."""
    for noise in NOISES:
        folder = output / "digits" / noise
        yield from corpus_jobs(sources, output, noise)
        own = folder / str(DIGIT_SEED)
        name = f"digits/{noise}/{DIGIT_SEED}"
        ready = (f"digits/{noise}/records",)
        changes = _seeds("pretrain", DIGIT_SEED)
        yield from _train(
            DIGITS, f"{name}/pretrain", "pretrain", folder / "records", own / "pretrained", ready, changes
        )
        result = own / "probe.json"
        yield Job(
            f"{name}/probe",
            CLI,
            (
                *("probe", "--model", str(own / "pretrained"), "--data", str(folder / "records")),
                *("--gallery", "0", "--seed", str(DIGIT_SEED), "--output", str(result)),
            ),
            result,
            (f"{name}/pretrain",),
        )
        for labels in LABELS if noise == "none" else (NOISY_LABELS,):
            for streams in STREAMS:
                yield from _few_labels(output, noise, labels, streams)


def _few_labels(output: Path, noise: str, labels: int, streams: str) -> Iterator[Job]:
    """Fine-tuned after pretraining, and from random weights, on the same few clips and with as many steps."""
    folder, name = output / "digits" / noise, f"digits/{noise}/{DIGIT_SEED}"
    records, own = folder / "records", folder / str(DIGIT_SEED)
    chosen = "[visual,audio]" if streams == "both" else f"[{streams}]"
    settings = (
        *_seeds("finetune", DIGIT_SEED),
        *("--set", f"finetune.labels_per_class={labels}", "--set", f"finetune.streams={chosen}"),
    )
    case = f"{streams}-{labels}"
    pretrained = own / "pretrained"
    yield from _finetune(
        DIGITS,
        f"{name}/{case}-pretrained",
        records,
        own / f"{case}-pretrained",
        (f"{name}/pretrain",),
        ("--init", str(pretrained), *settings),
    )
    needs = (f"digits/{noise}/records",)
    yield from _finetune(DIGITS, f"{name}/{case}-scratch", records, own / f"{case}-scratch", needs, settings)


def corpus_jobs(sources: Sources, output: Path, noise: str) -> Iterator[Job]:
    """The files of one kind of noise, and their records."""
    folder = output / "digits" / noise
    videos, records = folder / "videos", folder / "records"
    yield Job(
        f"digits/{noise}/videos",
        "experiments.digit_videos",
        (
            *("--fsdd", str(sources.fsdd), "--mnist", str(sources.mnist)),
            *("--noise", noise, "--output", str(videos)),
        ),
        videos / "manifest.csv",
    )
    yield Job(
        f"digits/{noise}/records",
        "beam_jobs.preprocess",
        ("--input", str(videos / "manifest.csv"), "--output", str(records), "--preset", DIGITS),
        records / "dataset_card.json",
        (f"digits/{noise}/videos",),
    )


def start_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Pretraining by the recipe itself with ten seeds, without noise and with each, measured as the ablations are."""
    for noise in NOISES:
        yield from corpus_jobs(sources, output, noise)
        for seed in START_SEEDS:
            yield from _probed(output, noise, *start_place(noise, seed), seed)


def start_place(noise: str, seed: int) -> tuple[str, Path]:
    """Name of the jobs and folder (below the output) of one seed of the recipe; the digits share them."""
    return f"digits/{noise}/{seed}", Path("digits", noise, str(seed))


def ablation_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Pretraining with one thing changed, three seeds each, measured by a linear classifier on frozen features."""
    yield from corpus_jobs(sources, output, "none")
    for setting in dict.fromkeys(setting for _, _, setting in ABLATIONS):
        for seed in SEEDS:
            yield from _probed(output, "none", *ablation_place(setting, seed), seed, setting)


def alignment_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Pretraining without and with the alignment loss: retrieval across modalities, and what the features are worth."""
    yield from corpus_jobs(sources, output, "none")
    for _, setting in ALIGNMENT:
        for seed in SEEDS:
            place = ablation_place(setting, seed)
            yield from _probed(output, "none", *place, seed, setting, "across", ("--gallery", "0"))


def _probed(
    output: Path,
    noise: str,
    name: str,
    folder: Path,
    seed: int,
    setting: str = "",
    measure: str = "frozen",
    more: tuple[str, ...] = ("--no-retrieval",),
) -> Iterator[Job]:
    """Pretraining with a seed, and perhaps one more setting, and a probe of its frozen features with few labels."""
    records, place = output / "digits" / noise / "records", output / folder
    changes = (*_seeds("pretrain", seed), *(("--set", setting) if setting else ()))
    needs = (f"digits/{noise}/records",)
    yield from _train(DIGITS, f"{name}/pretrain", "pretrain", records, place / "pretrained", needs, changes)
    result = place / f"{measure}.json"
    yield Job(
        f"{name}/{measure}",
        CLI,
        (
            *("probe", "--model", str(place / "pretrained"), "--data", str(records), *more),
            *("--labels-per-class", str(FROZEN_LABELS), "--seed", str(seed), "--output", str(result)),
        ),
        result,
        (f"{name}/pretrain",),
    )


def ablation_place(setting: str, seed: int) -> tuple[str, Path]:
    """Name of the jobs and folder (below the output) of one ablation; with nothing changed those of the digits."""
    if not setting:
        return start_place("none", seed)
    return f"ablations/{setting}/{seed}", Path("ablations", setting, str(seed))


def _seeds(section: str, seed: int) -> tuple[str, ...]:
    return ("--set", f"{section}.seed={seed}")


def _train(
    preset: str, name: str, command: str, records: Path, run: Path, needs: tuple[str, ...], more=()
) -> Iterator[Job]:
    """The preset is named, because the records keep it as it was when they were made."""
    arguments = (command, "--data", str(records), "--output", str(run), "--preset", preset, *more)
    yield Job(name, CLI, arguments, run / "backbone.weights.h5", needs)


def _finetune(preset: str, name: str, records: Path, run: Path, needs: tuple[str, ...], more=()) -> Iterator[Job]:
    """Fine-tuning, and its evaluation on the test split."""
    yield from _train(preset, name, "finetune", records, run, needs, more)
    yield Job(
        f"{name}/evaluate",
        CLI,
        ("evaluate", "--model", str(run), "--data", str(records)),
        run / "evaluation-test.json",
        (name,),
    )
