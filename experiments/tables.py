"""The tables of docs/RESULTS.md, made of the JSON files that the commands wrote."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import scipy.stats

from experiments import real_clip_tables
from experiments.jobs import Job, times_of
from experiments.plan import (
    ABLATIONS,
    ALIGNMENT,
    DIGIT_SEED,
    FOLDS,
    LABELS,
    NOISES,
    NOISY_LABELS,
    SEEDS,
    START_LEAST,
    START_SEEDS,
    STREAMS,
    ablation_place,
    start_place,
)
from pemt_tf.errors import PemtError

_STREAM_NAMES = {"audio": "audio only", "visual": "frames only", "both": "both"}


@dataclass(frozen=True)
class _Results:
    """Where figures, commands and times come from."""

    jobs: dict[str, Job]
    output: Path

    def accuracy(self, path: str, *keys: str) -> float:
        """A number in a JSON file below the output."""
        value = json.loads((self.output / path).read_text(encoding="utf-8"))
        for key in (*keys, "accuracy"):
            value = value[key]
        return float(value)

    def with_interval(self, path: str) -> str:
        """Accuracy in an evaluation, and its 95 % interval (Wilson) over the test clips, per cent."""
        found = json.loads((self.output / path).read_text(encoding="utf-8"))
        low, high = found["interval"]
        return f"{found['accuracy']:.1%} ({low:.1%} to {high:.1%})"

    def cost(self, names: Iterable[str]) -> str:
        """Median CPU seconds of some jobs of one kind."""
        return f"{statistics.median(times_of(self.jobs[name], self.output)['cpu_seconds'] for name in names):.0f}"

    def command(self, name: str) -> str:
        """A job's command with the output folder as OUT."""
        output = rf"(?<=[ =]){re.escape(str(self.output))}(?=[/ ]|$)"
        return "`" + re.sub(output, "OUT", self.jobs[name].command).replace("|", "\\|") + "`"


def make_tables(jobs: Sequence[Job], output: Path, parts: Sequence[str]) -> str:
    """Markdown: for every part a block between `<!-- begin NAME -->` and `<!-- end NAME -->`."""
    results = _Results({job.name: job for job in jobs}, output)
    makers = {
        "esc10": _esc10,
        "digits": _digits,
        "start": _start,
        "ablations": _ablations,
        "alignment": _alignment,
        "lrc_ar": _lrc_ar,
    }
    return "".join(f"<!-- begin {part} -->\n{makers[part](results)}<!-- end {part} -->\n" for part in parts)


def replace_tables(page: Path, text: str) -> None:
    """Puts each block of `make_tables` in the place of the one of its name.

    Raises:
        PemtError: the page has no such block.
    """
    content = page.read_text(encoding="utf-8")
    for name, block in re.findall(r"(<!-- begin (?:\w+) -->)(.*?<!-- end \w+ -->)", text, re.S):
        end = name.replace("begin", "end")
        pattern = re.compile(re.escape(name) + ".*?" + re.escape(end), re.S)
        if not pattern.search(content):
            raise PemtError(f"{page} has no place for a table: it needs the lines {name} and {end}")
        content = pattern.sub(lambda _, whole=name + block: whole, content)
    page.write_text(content, encoding="utf-8")


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval by Student's t; the values themselves where there is one only."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))
    return mean, mean - half, mean + half


def _share(values: Sequence[float]) -> str:
    """Mean and half the interval, per cent; one value has no interval."""
    mean, low, _ = mean_interval(values)
    if len(values) < 2:
        return f"{mean:.1%}"
    return f"{mean:.1%} ± {(mean - low) * 100:.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _esc10(results: _Results) -> str:
    kinds = (
        ("a", "the network from scratch", "scratch/evaluation-test.json", (), "scratch"),
        (
            "b",
            "pretrained without labels, linear classifier on frozen features",
            "probe.json",
            ("audio", "linear"),
            "probe",
        ),
        ("c", "pretrained without labels, fine-tuned", "finetuned/evaluation-test.json", (), "finetune"),
        ("d", "random network, linear classifier on its features", "random.json", ("audio", "linear"), "random"),
        ("e", "no network: logistic regression on log-mel statistics", "baseline.json", (), "baseline"),
    )
    rows, commands, by_letter = [], [], {}
    for letter, what, path, keys, job in kinds:
        values = by_letter[letter] = [results.accuracy(f"esc10/{fold}/{path}", *keys) for fold in FOLDS]
        names = [f"esc10/{fold}/{job}" for fold in FOLDS]
        rows.append([letter, what, *(f"{value:.3f}" for value in values), _share(values)])
        commands.append([letter, results.cost(names), results.command(names[0])])
    for better, worse in ("ce", "ca", "bd"):
        gains = [x - y for x, y in zip(by_letter[better], by_letter[worse], strict=True)]
        rows.append([f"{better} - {worse}", "gain", *(f"{gain:+.3f}" for gain in gains), _share(gains)])
    pretrain = [f"esc10/{fold}/pretrain" for fold in FOLDS]
    commands.append(["b, c", results.cost(pretrain), results.command(pretrain[0])])
    header = ["", "", *(f"fold {fold}" for fold in FOLDS), "mean"]
    return _table(header, rows) + "\n" + _table(["row", "CPU s a fold", "command (fold 1, seed 0)"], commands)


def _digits(results: _Results) -> str:
    rows = []
    for noise in NOISES:
        for streams in STREAMS:
            for labels in LABELS if noise == "none" else (NOISY_LABELS,):
                case = f"digits/{noise}/{DIGIT_SEED}/{streams}-{labels}"
                kinds = ("pretrained", "scratch")
                shares = [results.with_interval(f"{case}-{kind}/evaluation-test.json") for kind in kinds]
                name = f"{case}-pretrained"
                cost = results.cost([name])
                rows.append([noise, _STREAM_NAMES[streams], str(labels), *shares, cost, results.command(name)])
    header = ["noise", "modality", "labels a digit", "pretrained", "from scratch", "CPU s", "command (pretrained)"]
    return _table(header, rows) + "\n" + _retrieval(results)


def _retrieval(results: _Results) -> str:
    rows = []
    for noise in NOISES:
        path = results.output / f"digits/{noise}/{DIGIT_SEED}/probe.json"
        found = json.loads(path.read_text(encoding="utf-8"))["retrieval_methods"]
        for method, directions in found.items():
            for direction in ("audio_to_video", "video_to_audio"):
                figures = directions[direction]
                recalls = [f"{figures[f'recall_at_{k}']:.1%}" for k in (1, 5, 10)]
                rank = f"{figures['median_rank']:.0f} of {figures['clips']}"
                rows.append([noise, method.replace("_", " "), direction.replace("_", " "), *recalls, rank])
    name = f"digits/none/{DIGIT_SEED}/probe"
    caption = f"\nCommand ({results.cost([name])} CPU s): {results.command(name)}\n"
    return _table(["noise", "method", "direction", "R@1", "R@5", "R@10", "median rank"], rows) + caption


def _start(results: _Results) -> str:
    """How many seeds began with every kind of noise, and a row a seed; without those that have not run."""
    rows, began, names = [], [], []
    for noise in NOISES:
        found = {}
        for seed in START_SEEDS:
            name, place = start_place(noise, seed)
            if not (results.output / place / "frozen.json").is_file():
                continue
            streams = ("visual", "audio", "joint")
            found[seed] = [results.accuracy(str(place / "frozen.json"), stream, "linear") for stream in streams]
            names.append(f"{name}/pretrain")
            pair_accuracy = f"{_last_metrics(results.output / place / 'pretrained')['cpp_accuracy']:.1%}"
            rows.append([noise, str(seed), *(f"{value:.1%}" for value in found[seed]), pair_accuracy])
        if found:
            joint = [values[-1] for values in found.values()]
            least = f"{sum(value >= START_LEAST for value in joint)} of {len(joint)}"
            began.append(
                [noise, *(_share(column) for column in zip(*found.values(), strict=True)), f"{min(joint):.1%}", least]
            )
    header = ["noise", "frames", "audio", "both", "both, worst seed", f"seeds with {START_LEAST:.0%} or more"]
    text = _table(header, began) + "\n"
    text += _table(["noise", "seed", "frames", "audio", "both", "pairs, accuracy in training"], rows)
    if not names:
        return text
    return text + f"\nCommand ({results.cost(names)} CPU s): {results.command(names[0])}\n"


def _last_metrics(run: Path) -> dict:
    """The last log line of a run."""
    return json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])


def _ablations(results: _Results) -> str:
    blocks = []
    for table in dict.fromkeys(table for table, _, _ in ABLATIONS):
        rows = []
        for _, row, setting in (entry for entry in ABLATIONS if entry[0] == table):
            places = [ablation_place(setting, seed)[1] for seed in SEEDS]
            visual, audio, joint = (
                [results.accuracy(str(place / "frozen.json"), stream, "linear") for place in places]
                for stream in ("visual", "audio", "joint")
            )
            cells = [_share(visual), _share(audio), _share(joint), ", ".join(f"{value:.1%}" for value in joint)]
            names = [f"{ablation_place(setting, seed)[0]}/pretrain" for seed in SEEDS]
            rows.append([row, *cells, results.cost(names), results.command(names[0])])
        header = [table, "frames", "audio", "both", "both, seed by seed", "CPU s", "command (seed 0)"]
        blocks.append(_table(header, rows))
    return "\n".join(blocks)


def _alignment(results: _Results) -> str:
    retrieval, accuracy = [], []
    for row, setting in ALIGNMENT:
        places = [ablation_place(setting, seed) for seed in SEEDS]
        paths = [results.output / folder / "across.json" for _, folder in places]
        probes = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for method in probes[0]["retrieval_methods"]:
            by_seed = [probe["retrieval_methods"][method] for probe in probes]
            cells = [row, method.replace("_", " ")]
            for direction in ("audio_to_video", "video_to_audio"):
                figures = [found[direction] for found in by_seed]
                ranks = ", ".join(f"{found['median_rank']:g}" for found in figures)
                cells += [_share([found["recall_at_10"] for found in figures]), ranks]
            retrieval.append(cells)
        values = {m: [probe[m]["linear"]["accuracy"] for probe in probes] for m in ("visual", "audio", "joint")}
        by_seed = ", ".join(f"{value:.1%}" for value in values["joint"])
        names = [f"{name}/pretrain" for name, _ in places]
        shares = [_share(values[m]) for m in ("visual", "audio", "joint")]
        accuracy.append([row, *shares, by_seed, results.cost(names), results.command(names[0])])
    ways = [f"{way}, {figure}" for way in ("audio to video", "video to audio") for figure in ("R@10", "median ranks")]
    header = ["alignment", "frames", "audio", "both", "both, seed by seed", "CPU s", "command (seed 0)"]
    return _table(["alignment", "method", *ways], retrieval) + "\n" + _table(header, accuracy)


def _lrc_ar(results: _Results) -> str:
    seeds, found = real_clip_tables.read_measures(results.output)
    rows = [
        [what, results.cost(names), results.command(names[0])] for what, names in real_clip_tables.kinds_of_jobs(seeds)
    ]
    figures = (real_clip_tables.belonging(found, _share), real_clip_tables.retrieval(found, _share))
    tables = [*figures, (["network", "CPU s", "command (seed 0)"], rows)]
    texts = [_table(header, cells) for header, cells in tables]
    return "\n".join([*texts, real_clip_tables.caption(results.output, seeds, found)])
