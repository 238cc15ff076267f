"""The reader of PyTorch files: both formats, every type, and what it must refuse.

Files are made here without PyTorch: stand-ins for its names are put where `pickle` looks for them while writing.
"""

import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from pemt_tf.convert.torch_checkpoint import read_torch_checkpoint, state_dict_of
from pemt_tf.errors import PemtError
from tests.golden import DIRECTORY

STORAGES = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


class Storage:
    """What PyTorch calls a typed storage: type name, key and raw bytes."""

    def __init__(self, kind: str, key: str, data: bytes, count: int):
        self.kind, self.key, self.data, self.count = kind, key, data, count


class Tensor:
    """Pickles as a torch.Tensor does."""

    def __init__(self, storage, shape, strides, offset=0):
        self.arguments = (storage, offset, tuple(shape), tuple(strides), False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture
def torch_names(monkeypatch):
    """Modules and names that a pickle of tensors refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in (*STORAGES.values(), "BFloat16Storage", "QInt8Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        raise AssertionError

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def tensor(array: np.ndarray, key: str) -> Tensor:
    array = np.asarray(array)
    strides = [stride // array.itemsize for stride in np.ascontiguousarray(array).strides] if array.ndim else []
    storage = Storage(STORAGES[array.dtype.str[1:]], key, array.tobytes(), array.size)
    return Tensor(storage, array.shape, strides)


def pickled(value, torch, found: dict, legacy: bool = False) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            found[item.key] = item
            identifier = ("storage", getattr(torch, item.kind), item.key, "cuda:0", item.count)
            return (*identifier, None) if legacy else identifier

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def write_archive(path, value, torch, compression=zipfile.ZIP_STORED) -> None:
    found = {}
    data = pickled(value, torch, found)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", data)
        for key, storage in found.items():
            archive.writestr(f"model/data/{key}", storage.data)


def write_legacy(path, value, torch) -> None:
    found = {}
    data = pickled(value, torch, found, legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(header, file, protocol=2)
        file.write(data)
        pickle.dump(sorted(found), file, protocol=2)
        for key in sorted(found):
            file.write(found[key].count.to_bytes(8, "little") + found[key].data)


WRITERS = {"archive": write_archive, "legacy": write_legacy}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_tensors_of_every_type_and_containers(tmp_path, torch_names, writer):
    random = np.random.default_rng(0)
    arrays = {
        dtype: (random.normal(size=(2, 3, 2)) * 50).astype(dtype) if dtype != "b1" else random.random((2, 3)) > 0.5
        for dtype in STORAGES
    }
    arrays["scalar"] = np.array(7, "i8")
    arrays["empty"] = np.zeros((0, 4), "f4")
    saved = {"epoch": 3, "state_dict": OrderedDict((k, tensor(a, str(i))) for i, (k, a) in enumerate(arrays.items()))}
    saved["note"] = ["text", (1.5, None, True)]
    path = tmp_path / "file.pyth"
    writer(path, saved, torch_names)
    loaded = read_torch_checkpoint(path)
    assert loaded["epoch"] == 3
    assert loaded["note"] == ["text", (1.5, None, True)]
    for name, array in arrays.items():
        result = loaded["state_dict"][name]
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_views_share_a_storage(tmp_path, torch_names, writer):
    values = np.arange(12, dtype="f4")
    storage = Storage("FloatStorage", "0", values.tobytes(), 12)
    saved = {"row": Tensor(storage, (4,), (1,), 4), "transposed": Tensor(storage, (4, 3), (1, 4))}
    path = tmp_path / "file.pyth"
    writer(path, saved, torch_names)
    loaded = read_torch_checkpoint(path)
    np.testing.assert_array_equal(loaded["row"], [4, 5, 6, 7])
    np.testing.assert_array_equal(loaded["transposed"], values.reshape(3, 4).T)


def test_bfloat16_becomes_float32(tmp_path, torch_names):
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    storage = Storage("BFloat16Storage", "0", bits.tobytes(), 3)
    path = tmp_path / "file.pyth"
    write_archive(path, {"x": Tensor(storage, (3,), (1,))}, torch_names)
    np.testing.assert_array_equal(read_torch_checkpoint(path)["x"], values)


class Calls:
    """Asks, when loaded, to call a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def remark():
    """A function of a module that the checkpoint has no business with."""


@pytest.mark.parametrize(
    "function, arguments, named",
    [
        (os.system, ("touch {}",), r"(posix|nt)\.system"),
        (eval, ("open({!r}, 'w')",), r"(builtins|__builtin__)\.eval"),
        (getattr, ("text", "upper"), r"(builtins|__builtin__)\.getattr"),
        (subprocess.run, (["touch", "{}"],), r"(subprocess|commands)\.run"),
        (np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b"b"), r"numpy.*_reconstruct"),
        (remark, (), r"(.*\.)?test_torch_checkpoint\.remark"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_anything_else_is_refused_by_name_and_never_runs(tmp_path, torch_names, writer, function, arguments, named):
    trace = tmp_path / "it_ran"
    arguments = [a.format(str(trace)) if isinstance(a, str) else a for a in arguments]
    path = tmp_path / "file.pyth"
    writer(path, {"state_dict": Calls(function, *arguments)}, torch_names)
    with pytest.raises(PemtError, match=f"asks to run {named}"):
        read_torch_checkpoint(path)
    assert not trace.exists()


def test_a_whole_saved_model_is_refused_by_name(tmp_path, torch_names):
    path = tmp_path / "file.pyth"
    # The class need not exist here: GLOBAL 'avbert.models AVBert', as torch.save(model) writes it.
    data = b"\x80\x02cavbert.models\nAVBert\n)\x81."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", data)
    with pytest.raises(PemtError, match=r"avbert\.models\.AVBert.*save the state_dict alone"):
        read_torch_checkpoint(path)


def broken_tensors():
    def storage(count=4):
        return Storage("FloatStorage", "0", bytes(16), count)

    return {
        "beyond": Tensor(storage(), (4,), (1,), 1),
        "long_stride": Tensor(storage(), (2, 2), (4, 1)),
        "negative": Tensor(storage(), (2,), (-1,), 3),
        "negative_offset": Tensor(storage(), (2,), (1,), -2),
        "inflated": Tensor(storage(), (1 << 40,), (0,)),
        "short_data": Tensor(storage(8), (8,), (1,)),
        "ranks": Tensor(storage(), (2, 2), (1,)),
        "no_storage": Tensor("text", (1,), (1,)),
        "unknown_type": Tensor(Storage("QInt8Storage", "0", bytes(4), 4), (4,), (1,)),
    }


@pytest.mark.parametrize("case", broken_tensors())
def test_tensors_that_do_not_fit_their_storage_are_refused(tmp_path, torch_names, case):
    path = tmp_path / "file.pyth"
    write_archive(path, {"x": broken_tensors()[case]}, torch_names)
    with pytest.raises(PemtError, match=r"file\.pyth"):
        read_torch_checkpoint(path)


def test_a_compressed_archive_is_refused(tmp_path, torch_names):
    path = tmp_path / "file.pyth"
    write_archive(path, {"x": tensor(np.zeros(10_000, "f4"), "0")}, torch_names, zipfile.ZIP_DEFLATED)
    with pytest.raises(PemtError, match="compressed"):
        read_torch_checkpoint(path)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_files_cut_anywhere_are_refused_in_one_sentence(tmp_path, torch_names, writer):
    path = tmp_path / "file.pyth"
    writer(path, {"x": tensor(np.arange(50, dtype="f4"), "0")}, torch_names)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(PemtError, match=r"file\.pyth is not a PyTorch checkpoint that can be read"):
            read_torch_checkpoint(path)


def test_damaged_bytes_never_end_in_another_exception(tmp_path, torch_names):
    path = tmp_path / "file.pyth"
    write_legacy(path, {"x": tensor(np.arange(6, dtype="f4"), "0"), "y": [1, "two"]}, torch_names)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 3):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_torch_checkpoint(path)  # some damage is invisible
        except PemtError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", pickle.dumps({"a": 1})])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.pyth"
    path.write_bytes(content)
    with pytest.raises(PemtError, match="not a PyTorch checkpoint"):
        read_torch_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PemtError, match=r"no checkpoint file at .*nothing\.pyth"):
        read_torch_checkpoint(tmp_path / "nothing.pyth")


def test_nested_sharing_does_not_explode(tmp_path, torch_names):
    value = ["x"]
    for _ in range(60):  # 2^60 leaves if every reference were copied
        value = [value, value]
    path = tmp_path / "file.pyth"
    write_archive(path, value, torch_names)
    loaded = read_torch_checkpoint(path)
    assert loaded[0] is loaded[1]


def test_a_file_that_pytorch_wrote():
    weights = state_dict_of(read_torch_checkpoint(DIRECTORY / "checkpoint_small.pyth"))
    assert len(weights) == 1063
    stem = weights["avbert.visual_conv.s1.pathway0_stem.conv.weight"]
    assert stem.shape == (4, 3, 5, 7, 7)
    assert stem.dtype == np.float32
    assert weights["avbert.visual_conv.s1.pathway0_stem.bn.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"w": np.ones(2)},
        {"state_dict": {"w": np.ones(2)}, "epoch": 1},
        {"model_state": {"module.w": np.ones(2)}},
    ],
)
def test_state_dict_is_found(checkpoint):
    assert list(state_dict_of(checkpoint)) == ["w"]


@pytest.mark.parametrize("checkpoint", [{}, [np.ones(2)], {"epoch": 1}, {"state_dict": {"w": "text"}}])
def test_a_checkpoint_without_state_dict_says_so(checkpoint):
    with pytest.raises(PemtError, match="no state_dict"):
        state_dict_of(checkpoint)
