"""Parameter-efficient multimodal Transformers for video (Lee et al., ICLR 2021) in TensorFlow and Keras 3.

Importing this package imports nothing heavy: decoding workers and `pemt --help` stay fast.
"""

__version__: str  # as installed; pyproject.toml states it


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        return metadata.version("pemt-tf")
    except metadata.PackageNotFoundError:  # a copy of the source that is not installed
        return "0+unknown"
