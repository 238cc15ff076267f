"""`pemt serve-config` and `pemt serve-status`: the file is what TensorFlow Serving reads, and the server follows it."""

import os
import threading
import time
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from pemt_tf import cli
from tests.client.model_server import ModelServer, grpc_server, rest_server

SHIPPED = Path(__file__).resolve().parents[2] / "serving" / "models.config"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "models.config"
    path.write_bytes(SHIPPED.read_bytes())
    path.chmod(0o640)
    return path


@pytest.fixture
def folder(tmp_path):
    """Versions 1, 2, 3 and 10; an export that is not finished has no saved_model.pb."""
    for number in ("1", "2", "3", "10", "11"):
        (tmp_path / "servable" / number).mkdir(parents=True)
        if number != "11":
            (tmp_path / "servable" / number / "saved_model.pb").write_bytes(b"")
    return tmp_path / "servable"


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read(path):
    """Versions (or the count of `latest`) and labels, by the server's own message types."""
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    versions = list(policy.specific.versions) if kind == "specific" else (kind, policy.latest.num_versions)
    assert (model.name, model.base_path, model.model_platform) == ("pemt", "/models/pemt", "tensorflow")
    return versions, dict(model.version_labels)


def test_a_third_export_takes_no_label_away(capsys, config, folder):
    """The old recipe, labels beside `latest: 2`, lost `stable` here."""
    words = ("serve-config", config, "--versions", folder)
    assert run(capsys, *words)[1] == "pemt: latest 2; no labels\n"
    assert read(config) == (("latest", 2), {})
    code, out, _ = run(capsys, *words, "--label", "stable=1", "--label", "canary=latest")
    assert (code, out) == (0, "pemt: versions 1, 3, 10; canary = 10, stable = 1\n")  # 3 and 10 were loaded: they stay
    assert read(config) == ([1, 3, 10], {"stable": 1, "canary": 10})
    run(capsys, *words, "--load", "2", "--unload", "3")
    assert read(config) == ([1, 2, 10], {"stable": 1, "canary": 10})
    run(capsys, *words, "--label", "stable=canary", "--unload", "2")
    assert read(config) == ([1, 10], {"stable": 10, "canary": 10})
    run(capsys, *words, "--label", "stable=1")  # and back
    assert read(config) == ([1, 10], {"stable": 1, "canary": 10})
    run(capsys, *words, "--load", "3")
    (folder / "3" / "saved_model.pb").unlink()
    assert run(capsys, *words, "--unload", "3")[0] == 0
    assert read(config)[0] == [1, 10]
    run(capsys, *words, "--remove-label", "stable", "--remove-label", "canary", "--latest", "2")
    assert read(config) == (("latest", 2), {})
    head = SHIPPED.read_text().split("model_config_list")[0]
    assert head.startswith("#") and config.read_text().startswith(head)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "stable=3"], "stable cannot move to version 3 before the server has loaded it: give --server"),
        (["--unload", "1"], "version 1 has the label stable and must stay loaded"),
        (["--latest", "2"], "has the labels canary, stable, and `latest` would unload their versions"),
        (["--remove-label", "beta"], "has no label beta; it has canary, stable"),
        (["--label", "stable"], "expected LABEL=VERSION"),
        (["--label", "stable=0"], "expected LABEL=VERSION"),
        (["--label", "stable=latest"], "latest (with --versions)"),
        (["--label", "a/b=1"], "'a/b' is not a label"),
        (["--label", "=1"], "'' is not a label"),
        (["--label", "canary=3", "--unload", "3", "--server", "localhost:1"], "version 3 has the label canary"),
        (["--model-name", "other"], "has no model other but pemt; give --model-name, or --base-path"),
        (["--versions", "nowhere", "--load", "1"], "nowhere has no version of a model"),
        (["--versions", "servable", "--load", "4"], "servable has no version 4; it has 1, 2, 3, 10"),
        (["--latest", "2", "--load", "1"], "--latest goes with no label"),
    ],
)
def test_what_a_server_would_refuse_is_not_written(capsys, config, folder, monkeypatch, words, message):
    monkeypatch.chdir(config.parent)
    run(capsys, "serve-config", config, "--label", "stable=1", "--label", "canary=2")
    before = config.read_bytes()
    code, _, err = run(capsys, "serve-config", config, *words)
    assert code == 2 and message in err and err.count("\n") == 1
    assert config.read_bytes() == before


@pytest.mark.parametrize("text", ["model_config_list { config { nam: 'x' } }", "\xff", "{", "custom_model_config {}"])
def test_files_that_are_no_models_config(capsys, tmp_path, text):
    path = tmp_path / "bad.config"
    path.write_text(text, encoding="latin-1")
    code, _, err = run(capsys, "serve-config", path, "--load", "1")
    assert code == 2 and "bad.config" in err and err.count("\n") == 1
    assert path.read_text(encoding="latin-1") == text


def test_a_new_file_and_a_second_model(capsys, tmp_path):
    path = tmp_path / "new.config"
    assert run(capsys, "serve-config", path, "--label", "stable=4")[0] == 0
    assert read(path) == ([4], {"stable": 4})
    assert path.stat().st_mode & 0o777 == 0o644  # the server reads it as another user
    assert run(capsys, "serve-config", path, "--model-name", "b", "--base-path", "/models/b", "--latest", "1")[0] == 0
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    assert [(m.name, m.base_path) for m in config.model_config_list.config] == [
        ("pemt", "/models/pemt"),
        ("b", "/models/b"),
    ]


def test_the_file_is_replaced_whole(capsys, config, monkeypatch):
    """By a rename, with the same permissions; and if that fails, the old file is untouched and nothing is left over."""
    link = config.with_name("link.config")
    link.symlink_to(config)
    inode = config.stat().st_ino
    run(capsys, "serve-config", link, "--load", "1")
    assert config.stat().st_ino != inode and config.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink() and read(config)[0] == [1]
    before, entries = config.read_bytes(), sorted(config.parent.iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run(capsys, "serve-config", config, "--load", "2")
    assert code == 2 and "cannot be written (No space left on device)" in err
    assert config.read_bytes() == before and sorted(config.parent.iterdir()) == entries


class Follower:
    """A server that reads its file by TensorFlow Serving's rules (server_core.cc), but ten times a second.

    A label that it knows moves only to a version that is loaded; else the whole file is refused. Loading takes time.
    """

    def __init__(self, path: Path, server: ModelServer):
        self._path, self._server, self._stop = path, server, threading.Event()
        self.refused: list[str] = []
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _follow(self):
        ready_at = {}
        while not self._stop.wait(0.1):
            versions, labels = read(self._path)
            server = self._server
            loaded = set(server.versions) - server.loading
            moved = [n for label, n in labels.items() if server.labels.get(label, n) != n and n not in loaded]
            if moved:
                self.refused.append(f"Request to assign label to version {moved[0]}")
                continue
            server.labels = dict(labels)
            for number in set(versions) - set(server.versions):
                ready_at[number] = time.monotonic() + 0.5
            server.loading = {n for n in versions if ready_at.get(n, 0) > time.monotonic()}
            server.versions = tuple(versions)


@pytest.mark.parametrize(("serve", "flags"), [(grpc_server, []), (rest_server, ["--rest"])])
def test_a_label_moves_when_its_version_is_loaded(capsys, config, folder, serve, flags):
    words = ("serve-config", config, "--versions", folder)
    run(capsys, *words, "--label", "stable=1", "--unload", "3", "--unload", "10")
    server = ModelServer(lambda *_: {}, {}, versions=(1,), labels={"stable": 1})
    with serve(server) as address, Follower(config, server) as follower:
        code, out, err = run(capsys, *words, "--label", "stable=2", "--unload", "1", "--server", address, *flags)
        assert (code, follower.refused) == (0, [])
        assert read(config) == ([2], {"stable": 2})
        assert out.splitlines() == [
            "pemt: versions 1, 2; stable = 1",
            f"{address} has loaded 1, 2",
            "pemt: version 2; stable = 2",
            f"{address} has loaded 2",
        ]
        assert err == f"waiting for version 2 on {address}, at most 300 s\n"
        run(capsys, *words, "--load", "3", "--label", "stable=2")
        assert run(capsys, *words, "--label", "stable=3", "--server", address, *flags)[0] == 0  # listed, not yet loaded
        assert run(capsys, *words, "--label", "stable=2", "--unload", "3", "--server", address, *flags)[0] == 0
        assert follower.refused == []
        time.sleep(0.3)
        assert server.labels == {"stable": 2} and server.versions == (2,)
        status = run(capsys, "serve-status", "--server", address, *flags)
        assert status == (0, "pemt version 2 AVAILABLE\nready\n", "")
    server.loading = {2}
    with serve(server) as address:
        code, _, err = run(capsys, "serve-config", config, "--server", address, "--timeout", "2", *flags)
        assert code == 2 and "has not loaded version 2 within 2 s" in err
        assert run(capsys, "serve-status", "--server", address, *flags)[:2] == (
            1,
            "pemt version 2 LOADING\nnot ready\n",
        )
