"""Outputs that cannot be written are found before the work."""

from pathlib import Path

import pytest

from pemt_tf import cli
from pemt_tf.errors import PemtError
from pemt_tf.files.output_check import require_writable_file, require_writable_folder
from tests.training.test_checkpoint import largest_file


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "there.json").write_text("{}")
    for path in (tmp_path / "there.json", tmp_path / "new.json", tmp_path / "new/folder/x.json"):
        require_writable_file(path, "--output")
        require_writable_folder(path.parent, "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "{}"


def test_what_cannot_is_named_with_the_flag(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file/x.json", tmp_path / "folder", tmp_path / ("x" * 300 + "/y")):
        with pytest.raises(PemtError, match=r"^cannot write .*; free some space, or choose another --html$"):
            require_writable_file(path, "--html")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(PemtError, match=r"^cannot write to .*choose another --output$"):
            require_writable_folder(path, "--output")
    with largest_file(1000), pytest.raises(PemtError, match="File too large"):  # as a full disk
        require_writable_file(tmp_path / "new.json", "--output")


@pytest.mark.parametrize(
    ("command", "flag", "work"),
    [
        ("evaluate --model RUN --data DATA", "--output", "pemt_tf.evaluation.classification.evaluate"),
        ("probe --model RUN --data DATA", "--output", "pemt_tf.evaluation.probe.probe"),
        ("probe --random-seed 0 --preset tiny --data DATA", "--output", "pemt_tf.evaluation.probe.probe"),
        ("report RUN", "--output", "pemt_tf.report.run_report.parameter_report"),
        ("explore EMBEDDINGS", "--output", "pemt_tf.explore.build.build_explorer"),
        ("search EMBEDDINGS --like x.mp4", "--html", "pemt_tf.search.embedding_store.EmbeddingStore"),
        ("convert x.pyth", "", "pemt_tf.convert.checkpoint_converter.convert_checkpoint"),
        ("export --model RUN", "--output", "pemt_tf.export.saved_model.export_saved_model"),
    ],
)
def test_every_command_looks_first(
    capsys, tmp_path, monkeypatch, finetuning_run, dataset_directory, command, flag, work
):
    """The work is taken away: begun, it would be a traceback."""
    monkeypatch.setattr(work, None)
    (tmp_path / "file").write_text("in the way")
    words = {"RUN": str(finetuning_run.path), "DATA": str(dataset_directory), "EMBEDDINGS": str(tmp_path)}
    arguments = [words.get(word, word) for word in command.split()]
    output = str(tmp_path / "file/below")
    assert cli.main([*arguments, *([flag] if flag else []), output]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write ") and str(tmp_path / "file") in said and said.count("\n") == 1
    assert Path(tmp_path / "file").read_text() == "in the way"
