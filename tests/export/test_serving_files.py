"""The files of serving/ are what TensorFlow Serving reads, and fit together and to the client."""

import inspect
import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from pemt_tf.client.prediction_client import PredictionClient

SERVING = Path(__file__).resolve().parents[2] / "serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
# Flags of the server, from main.cc of TensorFlow Serving.
FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "rest_api_timeout_in_ms",
    "allow_version_labels_for_unavailable_models",
    "grpc_max_threads",
    "enable_grpc_healthcheck_service",
    "enable_batching",
    "batching_parameters_file",
}


def message(name, fields):
    """A message type that no package ships, restated from TensorFlow Serving: field name to number and type."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="restated", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    definition = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        one = definition.field.add(name=field, number=number, label=_FIELD.LABEL_OPTIONAL)
        if isinstance(kind, str):
            one.type, one.type_name = _FIELD.TYPE_MESSAGE, kind
        elif isinstance(kind, dict):
            inner = definition.nested_type.add(name=field.title())
            for position, (key, scalar) in enumerate(kind.items(), 1):
                inner.field.add(name=key, number=position, label=_FIELD.LABEL_OPTIONAL, type=scalar)
            one.type, one.type_name = _FIELD.TYPE_MESSAGE, f".restated.{name}.{field.title()}"
        else:
            one.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"restated.{name}")
    make = getattr(message_factory, "GetMessageClass", None)
    return make(descriptor)() if make else message_factory.MessageFactory(pool).GetPrototype(descriptor)()


def read(name, into):
    return text_format.Parse((SERVING / name).read_text(encoding="utf-8"), into)


@pytest.fixture(scope="module")
def compose():
    (service,) = yaml.safe_load((SERVING / "docker-compose.yaml").read_text(encoding="utf-8"))["services"].values()
    return service


def test_models():
    (model,) = read("models.config", model_server_config_pb2.ModelServerConfig()).model_config_list.config
    default = inspect.signature(PredictionClient).parameters["model"].default
    assert (model.name, model.base_path, model.model_platform) == (default, "/models/pemt", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 2
    assert not model.version_labels  # beside `latest` the third export would take them away


def test_batching():
    whole = ".google.protobuf.Int64Value"
    fields = {
        "max_batch_size": (1, whole),
        "batch_timeout_micros": (2, whole),
        "max_enqueued_batches": (3, whole),
        "num_batch_threads": (4, whole),
    }
    found = read("batching.config", message("BatchingParameters", fields))
    assert (found.max_batch_size.value, found.batch_timeout_micros.value) == (8, 5000)
    assert found.num_batch_threads.value >= 1 and found.max_enqueued_batches.value >= found.num_batch_threads.value
    # A request of the client's usual size must fit into a batch, or it would be refused.
    assert inspect.signature(PredictionClient).parameters["batch"].default <= found.max_batch_size.value


def test_monitoring():
    kind = {"enable": _FIELD.TYPE_BOOL, "path": _FIELD.TYPE_STRING}
    found = read("monitoring.config", message("MonitoringConfig", {"prometheus_config": (1, kind)}))
    assert found.prometheus_config.enable
    assert found.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_compose(compose):
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in compose["command"])
    assert set(flags) <= FLAGS
    sources = dict(reversed(volume.rsplit(":", 2)[:2]) for volume in compose["volumes"])
    assert all(volume.endswith(":ro") for volume in compose["volumes"])
    assert sources.pop("/config") == "${PEMT_CONFIG:-.}"  # a folder, so that an edit by rename is seen
    for flag, path in flags.items():
        if flag.endswith("_file"):
            assert (SERVING / path.removeprefix("/config/")).is_file()
    assert int(flags["grpc_max_threads"]) >= 2 * 16  # 16 clients at once were refused 71 % of their requests
    assert tuple(map(int, re.search(r":-tensorflow/serving:(\d+)\.(\d+)", compose["image"]).groups())) >= (2, 18)
    (model,) = read("models.config", model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert model.base_path in sources
    assert compose["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert f"/v1/models/{model.name}" in compose["healthcheck"]["test"][-1]


def test_commented_flags_are_flags():
    text = (SERVING / "docker-compose.yaml").read_text(encoding="utf-8")
    flags = [line.strip(" #-").split("=")[0] for line in text.splitlines() if line.strip().startswith("# - --")]
    assert flags == ["enable_grpc_healthcheck_service", "enable_batching", "batching_parameters_file"]
