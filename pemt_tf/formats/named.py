"""Finds a form of record files by its name."""

from __future__ import annotations

from functools import cache

from pemt_tf.formats.record_files import ARRAY_RECORD, FORMATS, PARQUET, TFRECORD, WEBDATASET, RecordFiles

SUFFIXES = {TFRECORD: ".tfrecord", WEBDATASET: ".tar", PARQUET: ".parquet", ARRAY_RECORD: ".array_record"}


@cache
def record_files(name: str) -> RecordFiles:
    """The form of a name in `FORMATS`; its module, and what that imports, is loaded now."""
    if name == TFRECORD:
        from pemt_tf.formats.tfrecord_files import TFRecordFiles as Files
    elif name == WEBDATASET:
        from pemt_tf.formats.webdataset_files import WebDatasetFiles as Files
    elif name == PARQUET:
        from pemt_tf.formats.parquet_files import ParquetFiles as Files
    elif name == ARRAY_RECORD:
        from pemt_tf.formats.array_record_files import ArrayRecordFiles as Files
    else:
        raise ValueError(f"{name!r} is not one of {', '.join(FORMATS)}")
    return Files()
