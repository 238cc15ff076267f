"""A model gets one version, however often it is blessed; any other model gets one of its own."""

import importlib.util
from types import SimpleNamespace

import pytest

pytestmark = [
    pytest.mark.tfx,
    pytest.mark.skipif(importlib.util.find_spec("tfx") is None, reason="the tfx extra is not installed"),
]


def push(model, destination, output, blessed=1) -> dict[str, int]:
    """Runs the executor as TFX does; returns what it notes of the pushed model."""
    from tfx.proto import pusher_pb2
    from tfx.types import standard_artifacts
    from tfx.utils.proto_utils import proto_to_json

    from pemt_tf.orchestration.nodes.pusher import PushOnceExecutor

    trained, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    trained.uri, pushed.uri = str(model), str(output)
    blessing.set_int_custom_property("blessed", blessed)
    where = pusher_pb2.PushDestination.Filesystem(base_directory=str(destination))
    PushOnceExecutor().Do(
        {"model": [trained], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_to_json(pusher_pb2.PushDestination(filesystem=where))},
    )
    names = ("pushed", "unchanged")
    return {name: pushed.get_int_custom_property(name) for name in names} | {
        "version": pushed.get_string_custom_property("pushed_version")
    }


def write_model(folder, variables: bytes) -> None:
    inner = folder / "Format-Serving" / "variables"
    inner.mkdir(parents=True, exist_ok=True)
    (inner.parent / "saved_model.pb").write_bytes(b"graph")
    (inner / "variables.data").write_bytes(variables)


@pytest.fixture
def clock(monkeypatch):
    """TFX names versions by the second. Only its Pusher sees this clock: everything else asks for the time as well."""
    from tfx.components.pusher import executor

    seconds = iter(range(100, 200))
    monkeypatch.setattr(executor, "time", SimpleNamespace(time=lambda: next(seconds)))


def test_the_same_model_is_pushed_once(tmp_path, clock):
    write_model(tmp_path / "model", b"weights")
    serving = tmp_path / "serving"

    first = push(tmp_path / "model", serving, tmp_path / "first")
    again = push(tmp_path / "model", serving, tmp_path / "again")

    assert first == {"pushed": 1, "unchanged": 0, "version": "100"}
    assert again == {"pushed": 1, "unchanged": 1, "version": "100"}
    assert [path.name for path in serving.iterdir()] == ["100"]


@pytest.mark.parametrize("change", ["other weights", "a file more", "an incomplete copy", "an older version"])
def test_any_other_model_gets_a_version(tmp_path, clock, change):
    model, serving = tmp_path / "model", tmp_path / "serving"
    write_model(model, b"weights")
    push(model, serving, tmp_path / "first")
    if change == "other weights":
        write_model(model, b"WEIGHTS")
    elif change == "a file more":
        (model / "Format-Serving" / "assets.txt").write_text("labels")
    elif change == "an incomplete copy":
        (serving / "100" / "saved_model.pb").unlink()
    else:  # another model was pushed since, so this one is new to the servers
        write_model(tmp_path / "other", b"other")
        push(tmp_path / "other", serving, tmp_path / "second")
    before = len(list(serving.iterdir()))

    assert push(model, serving, tmp_path / "last")["unchanged"] == 0
    assert len(list(serving.iterdir())) == before + 1


def test_a_model_that_is_not_blessed_is_never_pushed(tmp_path, clock):
    write_model(tmp_path / "model", b"weights")
    push(tmp_path / "model", tmp_path / "serving", tmp_path / "first")

    assert push(tmp_path / "model", tmp_path / "serving", tmp_path / "again", blessed=0)["pushed"] == 0
