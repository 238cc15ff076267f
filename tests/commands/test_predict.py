"""`pemt predict` on real small files: a model here, and the same one behind both protocols, answer the same."""

import json
import shutil

import numpy as np
import pytest

from pemt_tf import cli
from tests.client.model_server import grpc_server, of_saved_model, refuse, rest_server
from tests.media_files import write_floats, write_video

DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A whole one, one of another size and without sound, one without pictures, one that is no media, and one
    whose samples are no numbers."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "whole.mp4")
    write_video(folder / "silent.mkv", audio_codec=None, size=(48, 80))
    write_video(folder / "blind.mkv", video_codec=None)
    (folder / "broken.mp4").write_bytes(b"nothing to see")
    write_floats(folder / "nan.wav", np.full(32_000, np.nan))
    return {path.stem: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def server(classifier_servable):
    return of_saved_model(classifier_servable)


@pytest.fixture(scope="module")
def addresses(server):
    with grpc_server(server) as grpc, rest_server(server) as rest:
        yield {"grpc": ["--server", grpc], "rest": ["--server", rest, "--rest"]}


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main(["predict", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def probabilities(out: str) -> dict[str, dict[str, float]]:
    """Path to label to probability, in the order of the lines."""
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["path"]: {one["label"]: one["probability"] for one in row["predictions"]} for row in rows}


def test_here_and_on_a_server(capsys, videos, addresses, classifier_servable):
    files = [videos[name] for name in ("whole", "silent", "blind")]
    code, out, err = run(capsys, *files, "--json", "--model", classifier_servable)
    assert (code, err) == (0, "")
    expected = probabilities(out)
    assert list(expected) == files
    assert all(set(row) == {"label0", "label1", "label2"} for row in expected.values())
    assert all(sum(row.values()) == pytest.approx(1, abs=1e-5) for row in expected.values())
    for flags in (
        ["grpc", "--batch", "2"],
        ["grpc", "--raw"],
        ["rest"],
        ["rest", "--rest-layout", "rows", "--batch", "2"],
        ["rest", "--raw", "--model-version", "1"],
    ):
        code, out, err = run(capsys, *files, "--json", *addresses[flags[0]], *flags[1:])
        assert (code, err) == (0, ""), flags
        answers = probabilities(out)
        assert list(answers) == files
        for path, row in answers.items():
            assert row == pytest.approx(expected[path], abs=1e-4), (flags, path)


def test_one_bad_file_among_good_ones(capsys, videos, addresses, server):
    """The others are answered, in order; the exit code tells."""
    server.requests.clear()
    files = [videos[name] for name in ("broken", "whole", "nan", "silent")]
    code, out, err = run(capsys, *files, "--top", 1, *addresses["grpc"])
    assert code == 2
    assert [line.split(":")[0] for line in out.splitlines()] == [files[1], files[3]]
    assert all(line.endswith("%") and line.count("label") == 1 for line in out.splitlines())
    lines = err.splitlines()
    assert lines[0].startswith(f"error: {files[0]}: open_failed")
    assert lines[1].startswith(f"error: {files[2]}: bad_samples")
    assert lines[2:] == ["error: 2 of 4 files could not be classified"]
    sizes = [len(one.inputs["examples"].string_val) for one in server.requests if "examples" in one.inputs]
    assert sizes == [2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model-name", "other"], "does not serve model other"),
        (["--model-version", "9"], "does not serve model pemt version 9"),
        (["--version-label", "stable"], "Unrecognized servable version label: stable"),
        (["--batch", "0"], "--batch 0 is not above 0"),
        (["--top", "0"], "--top 0 is not above 0"),
        (["--timeout", "0"], "must be above 0"),
    ],
)
def test_errors_are_one_line(capsys, videos, addresses, flags, message):
    code, out, err = run(capsys, videos["whole"], *addresses["grpc"], *flags)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_the_sentence_of_the_server(capsys, videos, addresses, server):
    """Also where it fails after the first question."""
    run(capsys, videos["whole"], *addresses["rest"])
    server.faults = [
        lambda: None,
        refuse("INVALID_ARGUMENT", "assertion failed: [examples[0] has 5 pictures]\n\t [[x]]"),
    ]
    code, out, err = run(capsys, videos["whole"], *addresses["rest"])
    assert (code, out) == (2, "")
    assert err.endswith(f"refuses the request: {videos['whole']} has 5 pictures\n")


def test_a_model_without_classifier(capsys, videos, backbone_servable):
    with grpc_server(of_saved_model(backbone_servable)) as address:
        code, _, err = run(capsys, videos["whole"], "--server", address)
    assert code == 2
    assert "has no classifier; export a run of `pemt finetune`" in err


def test_a_place_must_be_given(capsys, videos):
    with pytest.raises(SystemExit):
        run(capsys, videos["whole"])
    assert "one of the arguments --model --server is required" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/pemt.json",
    ],
)
def test_a_damaged_model_is_one_line(capsys, videos, classifier_servable, tmp_path, name):
    model = shutil.copytree(classifier_servable, tmp_path / "1")
    whole = (model / name).read_bytes()
    (model / name).write_bytes(whole[: len(whole) // 3])
    assert cli.main(["predict", videos["whole"], "--model", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {model}") and "export" in said and said.count("\n") == 1, said
