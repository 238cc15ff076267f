"""`python -m pytest -m gpu`: what needs a GPU. Elsewhere these tests are skipped."""

import pytest

from pemt_tf.device_choices import visible_device


@pytest.fixture(autouse=True, scope="session")  # before any other, so that nothing is made for tests that are skipped
def gpu():
    if visible_device() != "gpu":
        pytest.skip("no GPU")
