"""safetensors headers, read without loading a tensor: parameter count, dtypes, and whether the header can be true."""

from __future__ import annotations

import json
import math
import struct
from typing import IO, Any

from registry.inspection.documents import BadDocument
from registry.inspection.findings import Inspection

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 100_000
BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
    "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def read_header(path: str, file: IO[bytes], size: int) -> dict[str, Any]:
    """{"parameters": int, "dtypes": {name: count}, "tensors": int, "names": [tensor, ...], "bytes": int} of one file.

    Raises BadDocument for a header that is too large, not JSON, repeats a key, or whose shapes, offsets and file size
    do not agree.
    """
    start = file.read(8)
    if len(start) != 8:
        raise BadDocument(f"{path} is too short to be safetensors.")
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER_BYTES or length + 8 > size:
        raise BadDocument(f"{path} declares a header of {length} bytes, which cannot be.")

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise BadDocument(f"The header of {path} names a tensor twice.")
        return dict(pairs)

    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=build)
    except BadDocument:
        raise
    except (
        ValueError,
        RecursionError,
    ) as error:  # not UTF-8, not JSON, a number of more digits than Python reads
        raise BadDocument(f"The header of {path} is not JSON.") from error
    if not isinstance(header, dict):
        raise BadDocument(f"The header of {path} is not a JSON object.")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadDocument(f"The metadata of {path} is not a list of names and texts.")
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(tensors) > MAX_TENSORS:
        raise BadDocument(f"{path} lists {len(tensors)} tensors; at most {MAX_TENSORS} are accepted.")
    dtypes: dict[str, int] = {}
    spans = []
    for name, entry in tensors.items():
        dtype, count, begin, end = _entry(path, name, entry)
        dtypes[dtype] = dtypes.get(dtype, 0) + count
        spans.append((begin, end))
    spans.sort()
    position = 0
    for begin, end in spans:
        if begin != position:
            raise BadDocument(f"The tensors of {path} overlap or leave holes.")
        position = end
    if position != size - 8 - length:
        raise BadDocument(f"{path} has bytes that belong to no tensor.")
    return {
        "parameters": sum(dtypes.values()),
        "dtypes": dtypes,
        "tensors": len(tensors),
        "names": sorted(tensors),
        "bytes": position,
    }


def _entry(path: str, name: str, entry: Any) -> tuple[str, int, int, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sane = (
            isinstance(shape, list)
            and all(type(n) is int and 0 <= n < 2**63 for n in [*shape, begin, end])
            and begin <= end
            and len(shape) <= 16
        )
    except (TypeError, KeyError, ValueError) as error:
        raise BadDocument(f"{path} describes the tensor {name[:60]!r} wrongly.") from error
    if not sane or dtype not in BITS:
        raise BadDocument(f"{path} describes the tensor {name[:60]!r} wrongly (type {str(dtype)[:20]!r}).")
    count = math.prod(shape)
    if count * BITS[dtype] != (end - begin) * 8:
        raise BadDocument(f"The size of the tensor {name[:60]!r} in {path} does not fit its shape.")
    return dtype, count, begin, end


def inspect_weights(headers: dict[str, dict[str, Any]]) -> Inspection:
    """Sums the headers of all weight files of a revision."""
    dtypes: dict[str, int] = {}
    for header in headers.values():
        for dtype, count in header["dtypes"].items():
            dtypes[dtype] = dtypes.get(dtype, 0) + count
    return Inspection(facts={"parameters": sum(dtypes.values()), "dtypes": dtypes, "files": len(headers)})


def inspect_index(
    path: str, document: Any, files: set[str], headers: dict[str, dict[str, Any]], result: Inspection
) -> None:
    """An index names the shard of each tensor. A loader opens these names as paths."""
    folder = path[: path.rfind("/") + 1]
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict):
        result.fail(path, "The index has no weight_map, so no loader knows where the tensors are.", _BROKEN)
        return
    shards: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        shards.setdefault(str(shard), set()).add(str(tensor))
    for shard, tensors in sorted(shards.items())[:2000]:
        place = f"weight_map: {shard[:80]}"
        if "/" in shard or "\\" in shard or shard in ("", ".", ".."):
            result.fail(
                path,
                f"The index names a file outside of its folder: {shard[:120]!r}.",
                "A loader that follows it reads files of whoever loads the model.",
                key=place,
            )
        elif folder + shard not in files:
            result.fail(
                path,
                f"The index names {shard[:120]!r}, which the repository does not have.",
                _BROKEN,
                key=place,
            )
        elif not shard.endswith(".safetensors"):
            result.warn(
                path,
                f"The index names weights that are not safetensors: {shard[:120]!r}.",
                "They are quarantined; only safetensors are loaded.",
                key=place,
            )
        elif folder + shard in headers and tensors != set(headers[folder + shard]["names"]):
            result.fail(
                path,
                f"The index and the header of {shard[:120]!r} disagree about its tensors.",
                _BROKEN,
                key=place,
            )
    listed = {folder + shard for shard in shards}
    for extra in sorted(set(headers) - listed):
        if extra.startswith(folder) and "-of-" in extra:
            result.warn(
                extra, "The index does not name this shard, so no loader reads it.", "Ask what it is for."
            )
    total = (
        (document.get("metadata") or {}).get("total_size")
        if isinstance(document.get("metadata"), dict)
        else None
    )
    held = sum(headers[name]["bytes"] for name in listed if name in headers)
    if type(total) is int and listed <= set(headers) and total != held:
        result.warn(
            path,
            f"The index says {total} bytes of tensors, the shards hold {held}.",
            _BROKEN,
            key="metadata.total_size",
        )


_BROKEN = "The files do not belong together. Ask the author for a complete upload."
