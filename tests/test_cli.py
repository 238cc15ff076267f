"""The `pemt` command: what it prints, its exit codes, and one line for every kind of bad input."""

from __future__ import annotations

import os
import signal

import pytest

from pemt_tf import cli


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_line_error(code: int, err: str, *parts: str) -> None:
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def test_params_ends_with_the_papers_count(capsys):
    code, out, _ = run(capsys, "params", "--preset", "avbert_base")
    assert code == 0
    assert out.splitlines()[-1] == "Transformer: 3,843,840 of 127,581,696 (-96.99 %)"


def test_params_of_another_sharing(capsys):
    code, out, _ = run(capsys, "params", "--preset", "avbert_base", "--set", "model.sharing=layers_and_modalities")
    assert code == 0
    assert out.splitlines()[-1].startswith("Transformer: 7,087,872 of 127,581,696")


def test_unknown_preset_names_the_known_ones(capsys):
    code, _, err = run(capsys, "params", "--preset", "huge")
    assert_one_line_error(code, err, "'huge'", "avbert_base", "tiny")


@pytest.mark.parametrize(
    ("assignment", "part"),
    [
        ("model.rank", "section.field=value"),
        ("model.size=3", "'size'"),
        ("model.hidden=10", "multiple of heads"),
        ("model.hidden=many", "a whole number"),
    ],
)
def test_bad_override_is_one_line(capsys, assignment, part):
    code, _, err = run(capsys, "params", "--set", assignment)
    assert_one_line_error(code, err, part)


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", "2147483648", "9" * 5000])
@pytest.mark.parametrize(
    "command",
    ["evaluate --model m --data d --seed", "probe --model m --data d --seed", "probe --data d --random-seed"]
    + ["demo --seed"],
)
def test_seeds_are_whole_numbers_from_0(capsys, command, seed):
    *words, flag = command.split()
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, f"{flag}={seed}"])
    assert ended.value.code == 2
    assert f"{flag}: '{seed}' is not a whole number from 0 to 2147483647" in capsys.readouterr().err


def test_no_data_set(capsys, tmp_path):
    code, _, err = run(capsys, "pretrain", "--data", str(tmp_path), "--output", str(tmp_path / "run"))
    assert_one_line_error(code, err, str(tmp_path), "not a finished data set", "beam_jobs.preprocess")
    assert not (tmp_path / "run").exists()


def test_run_that_is_none(capsys, tmp_path):
    code, _, err = run(capsys, "export", "--model", str(tmp_path), "--output", str(tmp_path / "servable"))
    assert_one_line_error(code, err, "not a training run")
    assert not (tmp_path / "servable").exists()


def test_model_that_is_none(capsys, tmp_path):
    code, _, err = run(capsys, "predict", "clip.mp4", "--model", str(tmp_path / "nothing"))
    assert_one_line_error(code, err, "is not a SavedModel", "pemt export")


def test_cpu_devices_must_be_positive(capsys, tmp_path):
    code, _, err = run(
        capsys, "pretrain", "--data", str(tmp_path), "--output", str(tmp_path / "r"), "--cpu-devices", "0"
    )
    assert_one_line_error(code, err, "--cpu-devices")


def test_interrupt_gives_130(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pemt_tf.commands.params._run", interrupted)
    code, _, err = run(capsys, "params")
    assert (code, err) == (130, "stopped\n")


def test_sigterm_is_an_interrupt(monkeypatch, capsys):
    monkeypatch.setattr("pemt_tf.commands.params._run", lambda options: os.kill(os.getpid(), signal.SIGTERM))
    code, _, err = run(capsys, "params")
    assert (code, err) == (130, "stopped\n")


def test_out_of_memory_is_one_line_and_says_what_helps(monkeypatch, capsys):
    """What TensorFlow raises on a GPU: several lines, the sizes in one of them."""
    import tensorflow as tf

    said = "Graph execution error:\n\nDetected at node a\nOOM when allocating tensor with shape[9,9] on GPU:0\n\t [[a]]"

    def too_much(options):
        raise tf.errors.ResourceExhaustedError(None, None, said)

    monkeypatch.setattr("pemt_tf.commands.params._run", too_much)
    code, _, err = run(capsys, "params")
    assert_one_line_error(code, err, "(OOM when allocating tensor with shape[9,9] on GPU:0)", "pretrain.accumulation")


def test_a_full_disk_is_not_taken_for_memory(monkeypatch, capsys):
    """Linux' ENOSPC reaches Python as the same exception, with the file and the system's words."""
    import tensorflow as tf

    said = "{{function_node __wrapped__SaveV2}} /out/events.v2; No space left on device [Op:SaveV2]"

    def too_much(options):
        raise tf.errors.ResourceExhaustedError(None, None, said)

    monkeypatch.setattr("pemt_tf.commands.params._run", too_much)
    code, _, err = run(capsys, "params")
    assert_one_line_error(code, err, "a disk is full (/out/events.v2; No space left on device); free some space")


def test_what_libraries_say_is_one_line(monkeypatch, capsys):
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    for error, part in (
        (tf.errors.DataLossError(None, None, "Graph execution error:\n\ncorrupted record at 7\n\t [[a]]"), "corrupted"),
        (DecodeError("Error parsing message"), "google cannot continue (DecodeError: Error parsing message)"),
        (PermissionError(13, "Permission denied", "/a/b"), "cannot read or write /a/b: Permission denied"),
    ):

        def wrong(options, error=error):
            raise error

        monkeypatch.setattr("pemt_tf.commands.params._run", wrong)
        code, _, err = run(capsys, "params")
        assert_one_line_error(code, err, part)


def test_other_failures_are_not_taken_for_memory(monkeypatch):
    def wrong(options):
        raise ValueError("OOM")

    monkeypatch.setattr("pemt_tf.commands.params._run", wrong)
    with pytest.raises(ValueError):
        cli.main(["params"])
