"""Columns from Python values: what pyarrow makes of the same rows, without its import of pandas."""

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs.finish import dataset_index
from beam_jobs.finish.dataset_index import SCHEMA

VALUES = {
    pa.string(): lambda row: "ä" * row,
    pa.binary(): lambda row: bytes(range(row)),
    pa.bool_(): lambda row: row % 3 == 0,
    pa.int64(): lambda row: row * 10**15,
    pa.float64(): lambda row: -row / 3,
    pa.list_(pa.string()): lambda row: [str(number) for number in range(row)],
    pa.map_(pa.string(), pa.string()): lambda row: [(str(number), "x") for number in range(row)],
}


@pytest.mark.parametrize("count", [0, 1, 8, 21])
@pytest.mark.parametrize("nulls", [(), (0,), (3, 7, 20)])
def test_same_table_as_pyarrow_makes(count, nulls):
    rows = [{field.name: None if row in nulls else VALUES[field.type](row) for field in SCHEMA} for row in range(count)]
    table = dataset_index.table(rows, SCHEMA)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(rows, SCHEMA))
    assert table.to_pylist() == rows


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, None, -2.0, 0.0], pa.float64()),
        ([7, 2**40, None], pa.int64()),
        ([True, False, None] * 5, pa.bool_()),
        ([3.0, 4.0], pa.float64()),
        ([], pa.int64()),
    ],
)
def test_numbers(values, kind):
    chunks = [pa.array(values, kind), pa.array([*values, *values], kind)[len(values) // 2 :]]
    expected = [float("nan") if value is None else float(value) for chunk in chunks for value in chunk.to_pylist()]
    np.testing.assert_array_equal(dataset_index.numbers(pa.chunked_array(chunks, kind)), expected)
    assert dataset_index.numbers(pa.chunked_array([], kind)).tolist() == []
