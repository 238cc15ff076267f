"""Keeps messages of TFX and its libraries off the terminal, except for errors."""

from __future__ import annotations

import logging
import os
import warnings

from pemt_tf.terminal.quiet_import import quiet_tensorflow


def silence_libraries() -> None:
    """Silences them; call it before TFX is imported. Programs started later are silent as well."""
    quiet_tensorflow()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setLevel(logging.ERROR)
        logging.getLogger().addHandler(handler)
