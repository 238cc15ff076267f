"""`python -m pytest -m gpu`: what needs a GPU. Elsewhere these tests are skipped."""

import pytest

from pemt_tf.training.device_choices import on_gpu


@pytest.fixture(autouse=True, scope="session")  # before any other, so that nothing is made for tests that are skipped
def gpu():
    if not on_gpu():
        pytest.skip("no GPU")
