"""The gate that compares the data's labels with those of the last blessed model."""

import pytest

pytest.importorskip("tfx", reason="the tfx extra is not installed")

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.label_gate import require_same_labels
from pipeline.configs import EvaluatorConfig, PipelineConfig
from pipeline.pipeline import create_pipeline
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset

pytestmark = pytest.mark.tfx


@pytest.mark.parametrize("labels", [("cat", "dog"), ("cat", "dog", "ape")])
def test_labels_that_keep_their_numbers_pass(labels):
    require_same_labels(("cat", "dog"), labels)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("ape", "cat", "dog"), "(new: ape)"),
        (("cat",), "(gone: dog)"),
        (("cat", "hound"), "(new: hound; gone: dog)"),
        (("dog", "cat"), "(another order)"),
        (("a", "b", "c", "d", "e", "cat", "dog"), "(new: a, b, c and 2 more)"),
    ],
)
def test_other_numbers_stop_the_run_and_say_what_to_do(labels, says):
    with pytest.raises(PemtError) as refused:
        require_same_labels(("cat", "dog"), labels)

    assert says in str(refused.value)
    assert "--labels_from" in str(refused.value) and "compare_with_last" in str(refused.value)


@pytest.mark.parametrize("compares", [True, False])
def test_without_comparison_nothing_asks_for_the_last_model(tmp_path, compares):
    clips = [fake_clip(seed, seed % 2) for seed in range(4)]
    write_dataset(tmp_path / "data", {"train": clips, "test": clips})
    evaluator = EvaluatorConfig(compare_with_last=compares)
    config = PipelineConfig(
        data=tmp_path / "data", root=tmp_path / "root", overrides=OVERRIDES, evaluator=evaluator, infra_check="off"
    )

    nodes = {node.id: node for node in create_pipeline(config).components}

    assert ("baseline_model" in nodes["Evaluator"].inputs) == compares
    assert ("latest_blessed_model" in nodes) == compares
    assert (nodes.get("LabelGate") in nodes["Pretrainer"].upstream_nodes) == compares
