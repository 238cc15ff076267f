"""A server whose model is a few lines of Python."""

import numpy as np
import pytest

from pemt_tf.export.servable_metadata import ServableMetadata
from tests.client.model_server import ModelServer
from tests.client.served_model import LABELS, SIGNATURES


@pytest.fixture(scope="module")
def metadata(small_config):
    return ServableMetadata(small_config, LABELS, version=7)


@pytest.fixture
def server(metadata):
    """A model that answers with the length of each record, or the mean of each clip's frames."""

    def run(signature, inputs):
        if signature == "metadata":
            assert inputs["fields"].tolist() == [b"all"]
            return {"json": np.array([metadata.served_fields()["all"].encode()], object)}
        first = inputs.get("examples", inputs.get("frames"))
        values = [len(one) if isinstance(one, bytes) else one.mean() for one in first]
        count = len(values)
        labels = np.array([[name.encode() for name in LABELS]] * count, object)
        probabilities = np.tile(np.array([[0.25, 0.75]], np.float32), (count, 1))
        embedding = np.array([[value, -1.5, np.nan] for value in values], np.float32)
        return {"probabilities": probabilities, "labels": labels, "embedding": embedding}

    return ModelServer(run, SIGNATURES, versions=(3, 7), labels={"stable": 3})
