"""A client that is connected to a stand-in server, and what that server is asked."""

import contextlib

import tensorflow as tf

from pemt_tf.client.prediction_client import PredictionClient
from tests.client.model_server import grpc_server, rest_server

LABELS = ("cat", "dög")
STRINGS, BYTES, FLOATS = tf.string, tf.uint8, tf.float32
_FULL = {"probabilities": FLOATS, "labels": STRINGS, "embedding": FLOATS}
SIGNATURES = {
    "serving_default": ({"examples": STRINGS}, _FULL),
    "classify": ({"frames": BYTES, "waveform": FLOATS}, _FULL),
    "classify_visual": ({"frames": BYTES}, _FULL),
    "embed": ({"frames": BYTES, "waveform": FLOATS}, {"embedding": FLOATS}),
    "metadata": ({"fields": STRINGS}, {"json": STRINGS}),
}
GRPC, COLUMNS, ROWS = "grpc", "columns", "rows"


@contextlib.contextmanager
def connected(server, transport, **options):
    serve = grpc_server if transport == GRPC else rest_server
    with serve(server) as address:
        rest = {} if transport == GRPC else {"rest": True, "rest_layout": transport}
        with PredictionClient(address, **{"timeout": 20, **rest, **options}) as client:
            yield client


def asked(server):
    """What was asked but for the question about metadata."""
    return [one for one in server.requests if "metadata" not in str(one)]
