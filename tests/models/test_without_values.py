"""Models without values stay without, whatever Keras does later in the same process."""

import keras
import numpy as np
import pytest

from pemt_tf.models.without_values import without_values


def test_variables_have_shapes_and_take_no_memory():
    def build():
        layer = keras.layers.Dense(1_000_000)
        layer.build((None, 1_000_000))  # 4 TB
        return layer

    layer = without_values(build)
    assert layer.kernel.shape == (1_000_000, 1_000_000)
    # The end of any scope gives values to the variables that Keras holds to be forgotten.
    with keras.StatelessScope():
        later = keras.layers.Dense(3)
        later.build((None, 2))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(later.bias.value), np.zeros(3))


def test_what_goes_wrong_is_raised_where_it_was_asked_for():
    def build():
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no"):
        without_values(build)
