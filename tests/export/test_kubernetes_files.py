"""The files of serving/kubernetes/ are what Kubernetes and KServe take, and fit to the compose file."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.export.test_serving_files import FLAGS

jsonschema = pytest.importorskip("jsonschema", reason="it comes with TFX")

SERVING = Path(__file__).resolve().parents[2] / "serving"
SCHEMAS = json.loads(Path(__file__).with_name("kubernetes_schemas.json").read_text(encoding="utf-8"))
DOCUMENTS = {
    f"{path.name} {one['kind']}": one
    for path in sorted((SERVING / "kubernetes").glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
# Of the server besides those of the compose file, from main.cc of TensorFlow Serving.
MORE_FLAGS = {"port", "rest_api_port", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"}


def errors(document):
    kind = SCHEMAS["kinds"][f"{document['apiVersion']} {document['kind']}"]
    return list(jsonschema.Draft202012Validator({**SCHEMAS, "$ref": kind}).iter_errors(document))


def flags(arguments):
    return dict(flag.removeprefix("--").split("=", 1) for flag in arguments)


@pytest.fixture
def deployment():
    return copy.deepcopy(DOCUMENTS["deployment.yaml Deployment"])


@pytest.fixture
def container(deployment):
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schemas(name):
    assert not errors(DOCUMENTS[name])


def test_there_is_a_deployment_and_an_inference_service():
    kinds = [name.split()[1] for name in DOCUMENTS]
    assert kinds == ["PersistentVolumeClaim", "Deployment", "Service", "InferenceService"]


def test_the_schemas_notice_mistakes(deployment, container):
    for key, value in (
        ("livenesProbe", {}),
        ("ports", [{"name": "grpc"}]),
        ("args", [5]),
        ("resources", {"limit": {}}),
    ):
        old = container.get(key)
        container[key] = value
        assert errors(deployment), key
        container.pop(key) if old is None else container.update({key: old})
    assert not errors(deployment)
    del deployment["spec"]["selector"]
    assert errors(deployment)
    served = copy.deepcopy(DOCUMENTS["inferenceservice.yaml InferenceService"])
    served["spec"]["predictor"]["model"]["storageURI"] = "pvc://x"
    assert errors(served)
    del served["spec"]["predictor"]["model"]["storageURI"], served["spec"]["predictor"]["model"]["modelFormat"]
    assert errors(served)


def test_probes_and_limits(container):
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    given = flags(container["args"])
    assert ports == {"grpc": int(given["port"]), "http": int(given["rest_api_port"])} == {"grpc": 8500, "http": 8501}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/pemt", "port": "http"}
    assert container["livenessProbe"]["tcpSocket"]["port"] == "grpc"
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 120
    for place in (container, DOCUMENTS["inferenceservice.yaml InferenceService"]["spec"]["predictor"]["model"]):
        assert place["resources"]["limits"].keys() == place["resources"]["requests"].keys() == {"cpu", "memory"}
        given = flags(place["args"])
        for kind in ("intra", "inter"):
            assert given[f"tensorflow_{kind}_op_parallelism"] == place["resources"]["limits"]["cpu"]


def test_it_is_the_server_of_the_compose_file(container):
    (compose,) = yaml.safe_load((SERVING / "docker-compose.yaml").read_text())["services"].values()
    image = re.search(r":-(.*)\}", compose["image"])[1]
    model = DOCUMENTS["inferenceservice.yaml InferenceService"]["spec"]["predictor"]["model"]
    assert container["image"] == image == f"tensorflow/serving:{model['runtimeVersion']}"
    given = flags(container["args"])
    assert flags(compose["command"]).items() <= given.items()
    assert given.keys() | flags(model["args"]).keys() <= FLAGS | MORE_FLAGS
    assert flags(model["args"])["grpc_max_threads"] == given["grpc_max_threads"]


def test_names_fit_together(deployment, container):
    pod = deployment["spec"]["template"]
    claim = DOCUMENTS["deployment.yaml PersistentVolumeClaim"]["metadata"]["name"]
    service = DOCUMENTS["deployment.yaml Service"]["spec"]
    served = DOCUMENTS["inferenceservice.yaml InferenceService"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"] == service["selector"]
    assert {one["targetPort"] for one in service["ports"]} == {one["name"] for one in container["ports"]}
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    mounts = {one["name"]: one for one in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys() and all(one["readOnly"] for one in mounts.values())
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    assert served["spec"]["predictor"]["model"]["storageUri"] == f"pvc://{claim}"
    assert served["metadata"]["name"] == "pemt"  # KServe makes it the name of the model
    assert mounts["models"]["mountPath"] == "/models/pemt"
    head = (SERVING / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8")
    assert f"create configmap {volumes['config']['configMap']['name']} " in head
    for flag, path in flags(container["args"]).items():
        if flag.endswith("_file"):
            name = path.removeprefix(f"{mounts['config']['mountPath']}/")
            assert f"--from-file=serving/{name}" in head and (SERVING / name).is_file()
