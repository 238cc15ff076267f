"""TF_CONFIG, read and refused; waiting for workers and losing them. Real workers are in test_multi_worker."""

import json
import os
import time

import pytest
import tensorflow as tf

from pemt_tf.errors import PemtError
from pemt_tf.training import cluster as clusters
from pemt_tf.training.cluster import EXAMPLE, Cluster, noticing_lost_workers, this_cluster, waiting_for_others

TWO = {"worker": ["a:1", "b:2"]}


def text(cluster=None, **task):
    return json.dumps({"cluster": TWO if cluster is None else cluster, "task": {"type": "worker", "index": 0, **task}})


@pytest.mark.parametrize("given", [None, "", "{}", '{"cluster": {}}', '{"task": {"type": "worker", "index": 0}}'])
def test_no_cluster(given):
    assert Cluster.parse(given) is None


@pytest.mark.parametrize(
    ("given", "addresses", "index", "chief"),
    [
        (text(), ("a:1", "b:2"), 0, True),
        (text(index=1), ("a:1", "b:2"), 1, False),
        (text(index="1"), ("a:1", "b:2"), 1, False),
        (text({"chief": ["c:3"], **TWO}, type="chief"), ("c:3", "a:1", "b:2"), 0, True),
        (text({"chief": ["c:3"], **TWO}, index=0), ("c:3", "a:1", "b:2"), 1, False),
        (text({"worker": ["a:1"]}), ("a:1",), 0, True),
        (EXAMPLE, ("host-a:2222", "host-b:2222"), 0, True),
    ],
)
def test_workers_and_who_is_chief(given, addresses, index, chief):
    cluster = Cluster.parse(given)
    assert (cluster.addresses, cluster.index, cluster.is_chief) == (addresses, index, chief)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{'cluster'", "TF_CONFIG is not JSON (Expecting property name"),
        ("[1]", "TF_CONFIG is not a JSON object"),
        ('{"cluster": ["a:1"]}', "has a cluster that is not a JSON object"),
        (text({"ps": ["a:1"], **TWO}), "names the job 'ps'; only chief and worker train here"),
        (text({"worker": "a:1"}), 'gives worker "a:1"; it must be a list of host:port'),
        (text({"worker": ["a"]}), 'gives worker ["a"]; it must be a list of host:port'),
        (text({"worker": []}), "gives worker []; it must be a list of host:port"),
        (text({"chief": ["a:1", "b:1"], **TWO}), "names more than one chief"),
        (json.dumps({"cluster": TWO}), "has task null, whose type must be one of: worker"),
        (text(type="evaluator"), "whose type must be one of: worker"),
        (text(index=2), "has task index 2; there are worker 0 to 1"),
        (text(index="2"), "has task index 2; there are worker 0 to 1"),
        (text(index="one"), 'has task index "one"; there are worker 0 to 1'),
        (text(index="-1"), 'has task index "-1"; there are worker 0 to 1'),
        (text(index="9" * 5000), "there are worker 0 to 1"),
        (text(index=True), "has task index true; there are worker 0 to 1"),
        (text(type=["worker"]), 'has task {"type": ["worker"], "index": 0}'),
        (text(index=-1), "has task index -1; there are worker 0 to 1"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(given, message):
    with pytest.raises(PemtError) as error:
        Cluster.parse(given)
    assert message in str(error.value)
    assert str(error.value).endswith(f"On each machine it must look like {EXAMPLE}, with its own index")


def test_a_cluster_of_one_is_no_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text({"worker": ["a:1"]}))
    assert this_cluster() is None
    monkeypatch.setenv("TF_CONFIG", text(index=1))
    assert this_cluster() == Cluster(("a:1", "b:2"), 1)


def test_waiting_ends_with_a_message_and_the_process(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(clusters, "_REMIND_SECONDS", 0.02)
    with waiting_for_others(Cluster(("a:1", "b:2", "c:3"), 1), seconds=0.05):
        for _ in range(500):
            time.sleep(0.01)
            if codes:
                break
    lines = capsys.readouterr().err.splitlines()
    assert codes == [2]
    assert lines[:-1] == ["waiting for a:1, c:3"] * 2
    assert lines[-1].startswith("error: no connection to all of a:1, c:3 after 0 seconds; start the same command on")


def test_waiting_is_silent_when_the_others_come(monkeypatch, capsys):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("left"))
    with waiting_for_others(Cluster(("a:1", "b:2"), 0)):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "Graph execution error:\n\nDetected at node allgather/CollectiveGatherV2 defined at (most recent call la"
            "st):\n"
            '  File "a.py", line 33, in <module>\n\nCollective ops is aborted by: Socket closed\n'
            "The error could be from a previous operation. Restart your program to reset.\n\t [[{{node x}}]]",
            "Socket closed",
        ),
        (
            "{{function_node __wrapped__CollectiveReduceV2_device_/job:worker/task:0}} Collective ops is aborted by: "
            "Error reported from /job:worker/task:1: Task /job:worker/replica:0/task:1 heartbeat timeout. This is",
            "Error reported from /job:worker/task:1: Task /job:worker/replica:0/task:1 heartbeat timeout",
        ),
        ("connection refused\nmore", "connection refused"),
    ],
)
def test_a_lost_worker_is_one_sentence(monkeypatch, said, cause):
    """The texts are TensorFlow's, of a worker that was killed and of one that was frozen."""
    monkeypatch.setenv("TF_CONFIG", text())
    with pytest.raises(PemtError) as error, noticing_lost_workers():
        raise tf.errors.UnavailableError(None, None, said)
    assert str(error.value).startswith(f"another worker is lost ({cause}); start the same command again on every")
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(tf.errors.UnavailableError), noticing_lost_workers():
        raise tf.errors.UnavailableError(None, None, said)
