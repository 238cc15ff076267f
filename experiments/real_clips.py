"""Which commands make the table of the news clips, and where each leaves its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from experiments.jobs import Job
from experiments.plan import CLI, HERE, Sources

PRESET = str(HERE / "lrc_ar.yaml")
SEEDS = (0, 1, 2, 3, 4)
NETWORKS = ("pretrained", "exchanged", "random")
SECONDS = "1.0"  # of each file, from its start; they last 1.0 to 1.3 s


def real_clip_jobs(sources: Sources, output: Path) -> Iterator[Job]:
    """Pretrained, pretrained on exchanged audio, and random: who belongs together, five seeds each."""
    folder, clips = output / "lrc_ar", str(sources.lrc_ar)
    manifest, exchanged = folder / "manifest.csv", folder / "exchanged"
    arguments = ("--clips", clips, "--output", str(manifest))
    yield Job("lrc_ar/manifest", "experiments.block_split", arguments, manifest)
    arguments = ("--clips", clips, "--manifest", str(manifest), "--output", str(exchanged))
    yield Job(
        "lrc_ar/exchanged", "experiments.exchanged_audio", arguments, exchanged / "manifest.csv", ("lrc_ar/manifest",)
    )
    records, others = folder / "records", folder / "exchanged_records"
    yield _preprocess("records", manifest, records, ("--input_root", clips), "lrc_ar/manifest")
    yield _preprocess("exchanged_records", exchanged / "manifest.csv", others, (), "lrc_ar/exchanged")
    for seed in SEEDS:
        for network in NETWORKS:
            source = others if network == "exchanged" else records
            run, needs = folder / str(seed) / network, ("lrc_ar/records",)
            model = ("--preset", PRESET)
            if network != "random":
                name = f"lrc_ar/{seed}/{network}"
                yield _pretrain(name, source, run, seed, f"lrc_ar/{source.name}")
                model, needs = ("--model", str(run)), (*needs, name)
            result = folder / str(seed) / f"{network}.json"
            arguments = ("--data", str(records), *model, "--seed", str(seed), "--output", str(result))
            yield Job(f"lrc_ar/{seed}/{network}/measure", "experiments.pair_measures", arguments, result, needs)


def _preprocess(name: str, manifest: Path, records: Path, more: tuple[str, ...], needs: str) -> Job:
    """The part after the window of a file is not used."""
    arguments = ("--input", str(manifest), *more, "--output", str(records), "--preset", PRESET)
    plan = ("--plan", "windows", "--window", SECONDS)
    return Job(f"lrc_ar/{name}", "beam_jobs.preprocess", (*arguments, *plan), records / "dataset_card.json", (needs,))


def _pretrain(name: str, records: Path, run: Path, seed: int, needs: str) -> Job:
    arguments = ("pretrain", "--data", str(records), "--output", str(run), "--preset", PRESET)
    return Job(name, CLI, (*arguments, "--set", f"pretrain.seed={seed}"), run / "backbone.weights.h5", (needs,))
