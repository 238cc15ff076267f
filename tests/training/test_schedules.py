"""Learning-rate schedules against the reference's values and the formulas of docs/reference_model.md section 13."""

import keras
import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.training.schedules import ConstantSchedule, CosineSchedule, LinearSchedule, make_schedule
from tests.golden import Golden


@pytest.fixture(scope="module")
def golden():
    return Golden("optim_schedule")


@pytest.mark.parametrize("warm", [False, True], ids=["nowarm", "warm"])
@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_equals_the_reference_at_every_step(golden, kind, warm):
    total, warmup, base, start = golden["meta/N_warm_base_warmstart"]
    warmup = int(warmup) if warm else 0
    if kind == "cosine":
        schedule = CosineSchedule(base, int(total), warmup, warmup_start=start)
    else:
        schedule = make_schedule(kind, base, int(total), warmup)
    rates = [float(schedule(step)) for step in range(int(total))]
    expected = golden[f"out64/lr_{kind}_{'warm' if warm else 'nowarm'}"]
    np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-6 * base)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_last_step_and_all_after_it_are_exactly_zero(kind):
    schedule = make_schedule(kind, 0.03, 220_000, 13_200)
    assert [float(schedule(step)) for step in (219_999, 220_000, 500_000)] == [0.0, 0.0, 0.0]


def test_keras_counts_from_zero_and_the_first_update_uses_step_one():
    optimizer = keras.optimizers.SGD(LinearSchedule(1.0, 4))
    variable = keras.Variable([0.0])
    values = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones(1)], [variable])
        values.append(float(variable.numpy()[0]))
    assert values == [-0.75, -1.25, -1.5, -1.5]  # rates 3/4, 2/4, 1/4, 0


def test_one_step_run_that_is_all_warmup_reaches_the_base_rate():
    assert float(CosineSchedule(0.5, 1, 1)(0)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "schedule",
    [CosineSchedule(0.1, 10, 2, warmup_start=0.01), LinearSchedule(0.1, 10, 2), ConstantSchedule(0.1, 10)],
    ids=lambda schedule: type(schedule).__name__,
)
def test_serialization_round_trip(schedule):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(restored) is type(schedule)
    assert restored.get_config() == schedule.get_config()
    assert [float(restored(s)) for s in range(10)] == [float(schedule(s)) for s in range(10)]


@pytest.mark.parametrize("total, warmup", [(0, 0), (10, 11), (10, -1)])
def test_impossible_lengths_are_refused(total, warmup):
    with pytest.raises(PemtError, match=f"{total} steps with {warmup} steps of warm-up"):
        CosineSchedule(0.1, total, warmup)


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(PemtError, match="cosine, linear, constant"):
        make_schedule("step", 0.1, 10)
