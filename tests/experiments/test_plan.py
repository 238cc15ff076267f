"""The plan of the experiments: commands that parse, needs that are met, tables that say what the files say."""

import json
from pathlib import Path

import pytest

from beam_jobs import preprocess
from experiments import digit_videos, tables
from experiments.jobs import NAMES
from experiments.plan import (
    ABLATIONS,
    FOLDS,
    SEEDS,
    Sources,
)
from experiments.run import PARTS, main
from pemt_tf import cli
from pemt_tf.config import Config


def sources():
    return Sources(Path("esc10"), Path("fsdd"), Path("mnist.csv"), Path("lrc_ar"))


def jobs_of(output, *parts):
    return list({job.name: job for part in parts for job in PARTS[part](sources(), output)}.values())


def test_needs_are_jobs_that_come_before():
    before = set()
    for job in jobs_of(Path("out"), "ablations", "digits", "esc10", "lrc_ar"):
        assert before.issuperset(job.needs), job.name
        before.add(job.name)
    everything = jobs_of(Path("out"), *PARTS)
    names = {job.name for job in everything}
    assert all(names.issuperset(job.needs) for job in everything)
    assert len({job.produces for job in everything}) == len(everything)


@pytest.mark.parametrize("part", PARTS)
def test_commands_parse_and_their_settings_exist(part):
    for job in jobs_of(Path("out"), part):
        if job.module != "pemt_tf.cli":
            continue
        options = cli.make_parser().parse_args(list(job.arguments))
        settings = [name for name in getattr(options, "set", []) if name]
        preset = part if part in ("esc10", "lrc_ar") else "digits"
        Config.from_preset(f"experiments/{preset}.yaml").with_overrides(settings)


def test_every_ablation_changes_one_thing_and_has_the_unchanged_row():
    for table in dict.fromkeys(table for table, _, _ in ABLATIONS):
        settings = [setting for name, _, setting in ABLATIONS if name == table]
        assert settings.count("") == 1
        assert len({setting.partition("=")[0] for setting in settings if setting}) == 1


def test_mean_and_interval():
    # Student's t: 4.30265 times the deviation 1 by the root of 3.
    mean, low, high = tables.mean_interval([1.0, 2.0, 3.0])
    assert mean == 2 and low == pytest.approx(2 - 2.48414, abs=1e-4) and high == pytest.approx(2 + 2.48414, abs=1e-4)
    assert tables.mean_interval([0.7]) == (0.7, 0.7, 0.7)
    _, low, high = tables.mean_interval([0.0, 1.0] * 15)
    assert (high - low) / 2 == pytest.approx(2.045 * 0.50855 / 30**0.5, rel=1e-3)  # 29 degrees of freedom


def test_tables_of_esc10_and_ablations(tmp_path):
    jobs = jobs_of(tmp_path, "esc10", "ablations")
    for job in jobs:
        path = tmp_path / "times" / f"{job.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"command": job.command, "seconds": 9.0, "cpu_seconds": 7.0}))
        if job.produces.suffix == ".json":
            job.produces.parent.mkdir(parents=True, exist_ok=True)
            fold = job.name.split("/")[1]
            accuracy = 0.5 + 0.05 * int(fold) if fold.isdigit() else 0.25
            accuracy = 0.9 if "/finetune" in job.name else accuracy
            streams = {name: {"linear": {"accuracy": accuracy}} for name in ("visual", "audio", "joint")}
            job.produces.write_text(json.dumps({"accuracy": accuracy, **streams}))
    text = tables.make_tables(jobs, tmp_path, ["esc10", "ablations"])
    rows = [line for line in text.splitlines() if line.startswith("| e | no network")]
    # The folds' 0.55 to 0.75: deviation 0.0790569, times 2.776 by the root of 5.
    assert rows == [
        "| e | no network: logistic regression on log-mel statistics | 0.550 | 0.600 | 0.650 | 0.700 | 0.750 "
        "| 65.0% ± 9.8 |"
    ]
    assert "| c - e | gain | +0.350 | +0.300 | +0.250 | +0.200 | +0.150 | 25.0% ± 9.8 |" in text
    assert "`pemt pretrain --data OUT/esc10/1/records --output OUT/esc10/1/pretrained --preset " in text
    assert (
        text.count("| model.fusion") == 0
        and "| early | 25.0% ± 0.0 |" in text
        and "| 25.0%, 25.0%, 25.0% |" in text
        and str(tmp_path) not in text
    )
    page = tmp_path / "page.md"
    page.write_text(
        "Before\n<!-- begin esc10 -->\nobsolete\n<!-- end esc10 -->\nAfter\n"
        "<!-- begin ablations --><!-- end ablations -->"
    )
    tables.replace_tables(page, text)
    assert "obsolete" not in page.read_text() and page.read_text().startswith("Before\n<!-- begin esc10 -->\n| ")
    assert "After" in page.read_text()


def test_tables_of_alignment(tmp_path):
    jobs = jobs_of(tmp_path, "alignment")
    trained = [job.name for job in jobs if job.name.endswith("/pretrain")]
    assert len(trained) == 6 and trained[:3] == [f"digits/none/{seed}/pretrain" for seed in SEEDS]
    for job in jobs:
        path = tmp_path / "times" / f"{job.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"command": job.command, "seconds": 9.0, "cpu_seconds": 7.0}))
        if job.name.endswith("/across"):
            aligned, seed = "alignment_weight=1" in job.name, int(job.name.split("/")[2])
            job.produces.parent.mkdir(parents=True, exist_ok=True)
            figures = {
                way: {"recall_at_10": 0.3 + 0.01 * seed, "median_rank": 15.5 + seed}
                for way in ("audio_to_video", "video_to_audio")
            }
            methods = ["cosine", "aligned_cosine"] if aligned else ["cosine"]
            streams = {name: {"linear": {"accuracy": 0.9}} for name in ("visual", "audio", "joint")}
            job.produces.write_text(json.dumps({**streams, "retrieval_methods": dict.fromkeys(methods, figures)}))
    text = tables.make_tables(jobs, tmp_path, ["alignment"])
    # Of 30, 31 and 32 %: deviation 1, times 4.303 by the root of 3.
    cells = "31.0% ± 2.5 | 15.5, 16.5, 17.5"
    assert f"| with | aligned cosine | {cells} | {cells} |\n" in text and f"| without * | cosine | {cells} |" in text
    assert text.count("aligned cosine") == 1
    assert "| with | 90.0% ± 0.0 | 90.0% ± 0.0 | 90.0% ± 0.0 | 90.0%, 90.0%, 90.0% | 7 | `pemt pretrain " in text
    assert "--set pretrain.alignment_weight=1` |" in text


def test_table_of_the_start_counts_the_seeds_that_have_run(tmp_path):
    jobs = {job.name: job for job in jobs_of(tmp_path, "start")}
    assert len([name for name in jobs if name.endswith("/frozen")]) == 30
    for seed, both in ((0, 0.9), (1, 0.8), (3, 0.85)):
        for kind in ("pretrain", "frozen"):
            job = jobs[f"digits/none/{seed}/{kind}"]
            path = tmp_path / "times" / f"{job.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"command": job.command, "seconds": 9.0, "cpu_seconds": 7.0}))
        job.produces.parent.mkdir(parents=True)
        streams = {"visual": 0.75, "audio": 0.5, "joint": both}
        job.produces.write_text(json.dumps({name: {"linear": {"accuracy": value}} for name, value in streams.items()}))
        run = job.produces.parent / "pretrained"
        run.mkdir()
        (run / "metrics.jsonl").write_text('{"step": 1, "cpp_accuracy": 0.5}\n{"step": 2, "cpp_accuracy": 0.7}\n')
    text = tables.make_tables(list(jobs.values()), tmp_path, ["start"])
    # Student's t of the three: 4.30265 times the deviation 0.05 by the root of 3.
    assert "| none | 75.0% ± 0.0 | 50.0% ± 0.0 | 85.0% ± 12.4 | 80.0% | 2 of 3 |" in text
    assert "| none | 1 | 75.0% | 50.0% | 80.0% | 70.0% |" in text
    assert "| none | 2 |" not in text and "| pixels |" not in text
    assert "--output OUT/digits/none/0/pretrained --preset" in text


def test_what_is_missing_is_said(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "audio/esc10" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_names_that_people_type():
    job = jobs_of(Path("out"), "esc10")[0]
    assert job.command.startswith("python -m beam_jobs.datasets esc50") and NAMES["pemt_tf.cli"] == "pemt"
    assert len(FOLDS) == 5 and len(SEEDS) == 3
    assert callable(preprocess.main) and callable(digit_videos.main)
