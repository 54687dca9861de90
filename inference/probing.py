"""The tokenizer probe of intake (setting `INSPECTION_PROBES`): a fixed list of texts, encoded in a contained child process."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings

from inference.child import Order, run_order
from inference.probe_texts import PROBES, VERSION
from registry import store
from registry.exceptions import JobFailed
from registry.probes import Probed, Probing

# What a tokenizer is made of. No weights, nothing that could run.
SUFFIXES = (".json", ".txt", ".model", ".codes", ".jinja")
MAX_BYTES = 256 * 1024 * 1024
NAME, PATH = "tokenizer", "tokenizer.json"


def tokenizer(probing: Probing) -> Probed:
    """Digests of what the tokenizer makes of `PROBES`. Raises LeaseLost and JobCancelled; all else is the reason why not."""
    files = [file for file in probing.files if "/" not in file[0] and file[0].endswith(SUFFIXES)]
    size = sum(file[2] for file in files)
    if size > MAX_BYTES:
        return Probed(
            NAME, PATH, why_not=f"its files have {size} bytes, more than the {MAX_BYTES} that are tried."
        )
    try:
        said = _in_child(probing, files)
        return Probed(NAME, PATH, facts=_facts(said))
    except (JobFailed, KeyError, TypeError, ValueError) as error:
        sentence = error.message if isinstance(error, JobFailed) else "the child's answer could not be read."
        return Probed(NAME, PATH, why_not=sentence)


def _in_child(probing: Probing, files: list[tuple[str, str, int]]) -> dict[str, Any]:
    with store.snapshot(files) as snapshot:
        home = snapshot.parent / f"{snapshot.name}-home"
        home.mkdir()
        try:
            order = Order(
                kind="tokenizer_facts",
                snapshot=snapshot,
                model_id=probing.model_id,
                commit_sha=probing.commit_sha,
                params={"probe_texts": list(PROBES.values())},
                memory_mb=settings.INSPECTION_MEMORY_MB,
                cpu_s=settings.INSPECTION_TIMEOUT_S,
                timeout_s=2 * settings.INSPECTION_TIMEOUT_S + 10,
                limit_names="ASSAY_INSPECTION_TIMEOUT_S",
                tell=False,
            )
            return run_order(probing.running, order, home)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _facts(said: dict[str, Any]) -> dict[str, Any]:
    """The answer, each value of the kind it must be (a stranger's files made it). Raises KeyError, TypeError, ValueError."""
    each = dict(zip(PROBES, map(_digest, said["probe_digests"]), strict=True))
    return {
        "version": VERSION,
        "texts": len(PROBES),
        "digest": _digest(said["probe_digest"]),
        "each": {name: digest[:16] for name, digest in each.items()},
        "vocab_size": int(said["vocab_size"]),
        "class": str(said["class"])[:100],
        "is_fast": bool(said["is_fast"]),
        "libraries": {str(k)[:40]: str(v)[:40] for k, v in dict(said["versions"]).items()},
    }


def _digest(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError("not a digest")
    return value
