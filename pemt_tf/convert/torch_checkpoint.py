"""Reads a PyTorch checkpoint without PyTorch and without running code of the pickle.

A checkpoint is a pickle of containers and tensors; a pickle names functions to call. This reader resolves a fixed list
of names to its own functions, and refuses all other names before anything runs. Both formats of
`torch.save` are read: the zip archive (PyTorch 1.6 and later) and the older plain sequence of pickles.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from pemt_tf.errors import PemtError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _StorageKind:
    """Replaces `torch.FloatStorage` and similar classes."""

    dtype: str

    @property
    def item_size(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


@dataclass
class _Storage:
    """A flat array of numbers; the old format has them after the tensors that use them."""

    kind: _StorageKind
    count: int
    values: np.ndarray | None = None

    def fill(self, data: bytes, byte_order: Literal["<", ">"]) -> None:
        """Reads the numbers from bytes."""
        needed = self.count * self.kind.item_size
        if len(data) < needed:
            raise ValueError(f"a tensor of {needed} bytes has only {len(data)}")
        if self.kind.dtype == "bfloat16":  # NumPy has no such type: its bits are the upper half of a float32
            high = np.frombuffer(data, f"{byte_order}u2", self.count).astype(np.uint32) << 16
            self.values = high.view(np.float32)
        else:
            values = np.frombuffer(data, np.dtype(self.kind.dtype).newbyteorder(byte_order), self.count)
            self.values = values.astype(values.dtype.newbyteorder("="))


@dataclass
class _Tensor:
    """A view of a storage, which is checked and made when all storages have their numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_array(self) -> np.ndarray:
        """The tensor's values in a new array."""
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor without values")
        shape, strides = tuple(map(int, self.shape)), tuple(map(int, self.strides))
        size = math.prod(shape)
        if len(shape) != len(strides) or min((*shape, *strides, self.offset), default=0) < 0:
            raise ValueError("a tensor with an impossible shape")
        if size > self.storage.count:
            raise ValueError(f"a tensor of {size} values in a storage of {self.storage.count}")
        last = self.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if size and last >= self.storage.count:
            raise ValueError("a tensor reaches beyond its storage")
        if not size:
            return np.zeros(shape, values.dtype)
        steps = [stride * values.itemsize for stride in strides]
        return np.array(np.lib.stride_tricks.as_strided(values[self.offset :], shape, steps))


def _rebuild_tensor(storage, offset, shape, strides, *_ignored) -> _Tensor:
    """Replaces `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_ignored) -> _Tensor:
    """Replaces `torch._utils._rebuild_parameter`."""
    return tensor


class _PlainOrderedDict(OrderedDict):
    """An OrderedDict that ignores the attributes a pickle would set on it (`_metadata` of a state_dict)."""

    def __setstate__(self, state) -> None:
        pass


_ALLOWED = {
    ("collections", "OrderedDict"): _PlainOrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageKind(dtype) for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Resolves only the names of `_ALLOWED`."""

    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]):
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise PemtError(
                f"the checkpoint asks to run {module}.{name}; only tensors and plain containers are read "
                "(save the state_dict alone: torch.save(model.state_dict(), path))"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, identifier: Any) -> _Storage:
        tag, kind, key, _device, count, *view = identifier
        if tag != "storage" or not isinstance(kind, _StorageKind) or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"an unknown kind of storage: {identifier!r:.80}")
        if not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError(f"a storage of {count!r} values")
        return self._storages.setdefault(str(key), _Storage(kind, count))


def read_torch_checkpoint(path: str | Path) -> Any:
    """Reads what `torch.save` wrote: containers and plain values as they are, tensors as arrays (bfloat16 as float32).

    PemtError if the file is missing, damaged, of another kind, or names a function or class that is not a tensor or a
    plain container.
    """
    path = Path(path)
    if not path.is_file():
        raise PemtError(f"no checkpoint file at {path}")
    try:
        reader = _read_archive if zipfile.is_zipfile(path) else _read_legacy
        return _with_arrays(reader(path))
    except PemtError as error:
        raise PemtError(f"{path}: {error}") from None
    except Exception as error:  # a hostile pickle can cause any; to the user all of them mean the same
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PemtError(f"{path} is not a PyTorch checkpoint that can be read, or is damaged: {reason:.200}") from None


def _read_archive(path: Path) -> Any:
    """The zip format: a pickle and one entry per storage, all below one folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("the archive holds no data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise ValueError("the archive is compressed, which torch.save never does")
        folder = pickles[0][: -len("data.pkl")]
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        storages: dict[str, _Storage] = {}
        result = _Unpickler(io.BytesIO(archive.read(pickles[0])), storages).load()
        for key, storage in storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"), ">" if order == b"big" else "<")
    return result


def _read_legacy(path: Path) -> Any:
    """The old format: magic number, version, system, the object, the storage keys, then the storages in that order."""
    with path.open("rb") as file:
        storages: dict[str, _Storage] = {}
        if _Unpickler(file, storages).load() != _LEGACY_MAGIC:
            raise ValueError("it does not start as a PyTorch file does")
        version, system = _Unpickler(file, storages).load(), _Unpickler(file, storages).load()
        if version != _LEGACY_PROTOCOL:
            raise ValueError(f"format version {version!r}, expected {_LEGACY_PROTOCOL}")
        order = "<" if system.get("little_endian", True) else ">"
        result = _Unpickler(file, storages).load()
        for key in _Unpickler(file, storages).load():
            storage = storages[str(key)]
            count = int.from_bytes(file.read(8), "little" if order == "<" else "big")
            if count != storage.count:
                raise ValueError(f"a storage of {count} values where {storage.count} were announced")
            storage.fill(file.read(count * storage.kind.item_size), order)
        if any(storage.values is None for storage in storages.values()):
            raise ValueError("a storage is missing")
    return result


def _with_arrays(value: Any, done: dict[int, Any] | None = None) -> Any:
    """A copy of nested containers with tensors as arrays; what the pickle shares stays shared."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, (_Storage, _StorageKind)):
        raise ValueError("a storage outside of a tensor")
    result = value
    if isinstance(value, _Tensor):
        result = value.to_array()
    elif isinstance(value, dict):
        result = {key: _with_arrays(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = type(value)([_with_arrays(item, done) for item in value])
    done[id(value)] = result
    return result


def state_dict_of(checkpoint: Any) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by parameter name; a leading `module.` (data parallel training) is cut.

    It is a state_dict, or holds one under `state_dict`, `model_state`, `model_state_dict` or `model`.
    """
    if isinstance(checkpoint, dict):
        wrapped = (checkpoint.get(key) for key in ("state_dict", "model_state", "model_state_dict", "model"))
        for candidate in (*wrapped, checkpoint):
            if isinstance(candidate, dict):
                arrays = {name: array for name, array in candidate.items() if isinstance(array, np.ndarray)}
                if arrays and len(arrays) == len(candidate):
                    return {str(name).removeprefix("module."): array for name, array in arrays.items()}
    raise PemtError("the checkpoint holds no state_dict (parameter names with tensors)")
