"""Tensors out of verified safetensors files, mapped into memory: nothing is copied until it is changed."""

from __future__ import annotations

import ctypes
import json
import mmap
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from inference.engine.packed.architectures import NotPacked

_MADV_DONTNEED, _PAGE = 4, mmap.PAGESIZE


class Weights:
    """The model's tensors by name, with and without the base model's prefix."""

    def __init__(self, snapshot: Path, prefix: str) -> None:
        self._tensors: dict[str, torch.Tensor] = {}
        for path in _files(snapshot):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    self._tensors[name] = file.get_tensor(name)
        self._prefix = prefix if any(name.startswith(prefix) for name in self._tensors) else ""
        self.missing: list[str] = []

    def base(self, name: str, *, needed: bool = True) -> torch.Tensor | None:
        """A tensor of the base model."""
        return self.get(self._prefix + name, needed=needed)

    def get(self, name: str, *, needed: bool = True) -> torch.Tensor | None:
        """A tensor by its whole name; what is needed and lacking is remembered in `missing`."""
        tensor = self._tensors.get(name)
        if tensor is None and needed:
            self.missing.append(name)
        return tensor

    def let_go(self) -> None:
        """Tell the system that the mapped pages need not stay in memory; used ones come back by themselves. (No tensor is
        changed where it lies, or its page would come back unchanged.)"""
        madvise = getattr(ctypes.CDLL(None), "madvise", None)
        if madvise is None:
            return
        for tensor in self._tensors.values():
            storage = tensor.untyped_storage()
            # Whole pages alone: a tensor begins and ends amid a page that its neighbours share.
            start = -(-storage.data_ptr() // _PAGE) * _PAGE
            end = (storage.data_ptr() + storage.nbytes()) // _PAGE * _PAGE
            if end > start:
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _files(snapshot: Path) -> Iterator[Path]:
    index = snapshot / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        yield from (snapshot / str(name) for name in sorted(names))
    elif (snapshot / "model.safetensors").is_file():
        yield snapshot / "model.safetensors"
    else:
        raise NotPacked("its weights are not in model.safetensors")
