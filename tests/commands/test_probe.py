"""`pemt probe` and `pemt evaluate` as typed: what they write, and one line for every kind of bad input."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from pemt_tf import cli
from tests.conftest import SMALL


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments: str) -> str:
    code, _, err = run(capsys, *arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return str(path)


def test_an_untrained_network(capsys, tmp_path, dataset_directory, config_file):
    """Its features follow from the seed; only the stream that is asked for is probed."""
    results = []
    for seed in (0, 1):
        output = tmp_path / f"{seed}.json"
        code, out, _ = run(
            capsys, "probe", "--random-seed", str(seed), "--preset", config_file, "--data", str(dataset_directory),
            "--streams", "audio", "--no-retrieval", "--output", str(output),
        )  # fmt: skip
        assert code == 0 and out.splitlines()[-1] == f"details: {output}"
        assert out.startswith("test, audio: linear ")
        results.append(json.loads(output.read_text()))
    assert [r["model"] for r in results] == ["untrained, seed 0", "untrained, seed 1"]
    assert "visual" not in results[0] and results[0]["retrieval"] is None
    assert results[0]["spread"]["audio"] != results[1]["spread"]["audio"]


def test_bad_flags_of_probe(capsys, tmp_path, dataset_directory, pretraining_run, config_file):
    data = ("--data", str(dataset_directory))
    assert "give either --model RUN or --random-seed S" in refused(capsys, "probe", *data)
    both = ("--model", "x", "--random-seed", "1")
    assert "give either --model RUN or --random-seed S" in refused(capsys, "probe", *data, *both)
    assert "give --output FILE.json" in refused(capsys, "probe", *data, "--random-seed", "1")
    model = ("--model", str(pretraining_run.path))
    assert "are for --random-seed" in refused(capsys, "probe", *data, *model, "--preset", "tiny")
    assert "are both 'test'" in refused(capsys, "probe", *data, *model, "--train-split", "test")
    assert "--gallery is a whole number from 0" in refused(capsys, "probe", *data, *model, "--gallery", "-1")
    assert "has no split 'tset'; it has: train, test" in refused(capsys, "probe", *data, *model, "--split", "tset")
    assert "is not a training run" in refused(capsys, "probe", *data, "--model", str(tmp_path))
    other = ("--random-seed", "1", "--preset", "tiny", "--output", str(tmp_path / "x.json"))
    assert "another clip geometry" in refused(capsys, "probe", *data, *other)
    for flag, value in (("--labels-per-class", "0"), ("--batch-size", "-3"), ("--batch-size", "many")):
        with pytest.raises(SystemExit) as caught:
            cli.main(["probe", *data, *model, flag, value])
        assert caught.value.code == 2
        assert f"argument {flag}: '{value}' is not a whole number from 1" in capsys.readouterr().err


def test_bad_flags_of_evaluate(capsys, dataset_directory, finetuning_run):
    call = ("evaluate", "--model", str(finetuning_run.path), "--data", str(dataset_directory))
    assert "4 views are asked for, but a clip of this geometry has 3 segments" in refused(capsys, *call, "--views", "4")
    with pytest.raises(SystemExit):
        cli.main([*call, "--crops", "2"])
    assert "2 is not one of 1, 3" in capsys.readouterr().err


def test_evaluate_writes_beside_the_run(capsys, tmp_path, dataset_directory, finetuning_run):
    copy = shutil.copytree(finetuning_run.path, tmp_path / "run")  # other tests have the run as training left it
    code, out, err = run(
        capsys, "evaluate", "--model", str(copy), "--data", str(dataset_directory),
        "--views", "2", "--sum-over", "path", "--seed", "5",
    )  # fmt: skip
    assert code == 0 and " on 8 files; chance 33.3%; top-5 100.0%" in out and "evaluating 8/8" in err
    values = json.loads((copy / "evaluation-test.json").read_text())
    assert (values["views"], values["crops"], values["sum_over"]) == (2, 1, "path")
    assert (values["bootstrap"]["unit"], values["bootstrap"]["units"]) == ("source file", 8)
    assert values["bootstrap"]["seed"] == 5 and values["bootstrap"]["resamples"] == 10_000
    assert values["predictions"][0]["id"] == "fake/001000.mp4"
    assert [row["clips"] for row in values["per_class"]] == [3, 3, 2]
    assert sum(b["clips"] for b in values["calibration"]["bins"]) == 8
