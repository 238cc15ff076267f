"""Damaged weights are named, and nothing else is blamed."""

import shutil

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.export.saved_model import export_version
from pemt_tf.training.run_directory import RunDirectory


@pytest.mark.parametrize("name", ["classifier.weights.h5", "backbone.weights.h5"])
@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damaged_weights(finetuning_run, tmp_path, name, damage):
    run = RunDirectory(shutil.copytree(finetuning_run.path, tmp_path / "run"))
    path = run.path / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"no weights"}[damage])
    with pytest.raises(PemtError, match=f"^{path} is damaged .*copy it again, or train again"):
        run.load_classifier() if name.startswith("classifier") else run.load_backbone()
    if name.startswith("classifier"):
        with pytest.raises(PemtError, match=f"^{path} is damaged"):  # and not the output
            export_version(run, tmp_path / "servable")
