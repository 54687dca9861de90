"""What `process` starts: `python -m inference.engine.process_child FD...`, one connection for each lane.

The first lane loads the model; the others are forked from it when it is whole, so that one machine holds the
weights once. They compute with one thread each: a pool of threads does not outlive a fork. Ends when its
connection is closed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from inference.engine.errors import InferenceOutOfMemory, ModelLoadError, describe_error, ran_out_of_memory
from inference.engine.spawn import SPARE_S
from inference.engine.types import ClassifierConfig
from inference.engine.wire import pack_failure, pack_rows, unpack_batch

logger = logging.getLogger("inference.engine.process")


def main() -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    # The terminal's Ctrl-C reaches every process of the group; the server drains and then closes us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lanes: list[Connection[Any, Any]] = [Connection(int(number)) for number in sys.argv[1:]]
    # Before the configuration comes: it may be some time until the server has one (see `spawn`).
    import torch

    from inference.engine.load import load_backend

    with suppress(EOFError, OSError):
        if not lanes[0].poll(SPARE_S):
            return 0
        request = json.loads(lanes[0].recv_bytes())
        torch.set_num_threads(int(request["threads"]))
        backend = _load(load_backend, request["config"], lanes[0], len(lanes))
        if backend is None:
            return 1
        if backend.device != "cpu":
            lanes = lanes[:1]
        _settle()
        mine = _fork(lanes)
        if mine is not lanes[0]:
            torch.set_num_threads(1)  # The pool of threads stayed behind; alone none is asked for.
        _serve(backend, mine, torch.set_num_threads)
    return 0


def _load(
    load_backend: Callable[[ClassifierConfig], Any],
    fields: dict[str, Any],
    first: Connection[Any, Any],
    lanes: int,
) -> Any:
    """The backend, and what it is told to the other side; None when it cannot be loaded, and that is told."""
    fields["snapshot"] = Path(fields["snapshot"])
    fields["canaries"] = Path(fields["canaries"]) if fields["canaries"] else None
    try:
        backend = load_backend(ClassifierConfig(**fields))
        facts = {
            "lanes": lanes if backend.device == "cpu" else 1,
            "labels": backend.labels,
            "head": asdict(backend.head),
            "variant": asdict(backend.variant),
            "max_length": backend.max_length,
            "token_budget": backend.token_budget,
            "pads": backend.pads,
            **backend.tokeniser_facts(),
        }
    except ModelLoadError as exc:
        first.send_bytes(json.dumps({"error": exc.code, "message": str(exc)}).encode())
        return None
    first.send_bytes(json.dumps(facts).encode())
    return backend


def _settle() -> None:
    """Give back what loading needed, and let nothing touch what is there now: a look for garbage writes to every object,
    and a process that was forked then gets a copy of each page."""
    gc.freeze()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _fork(lanes: list[Connection[Any, Any]]) -> Connection[Any, Any]:
    """This process's own lane; the others go to processes of their own."""
    mine = lanes[0]
    for lane in lanes[1:]:
        if os.fork() == 0:
            mine = lane
            break
    for lane in lanes:
        if lane is not mine:
            lane.close()
    return mine


def _serve(backend: Any, lane: Connection[Any, Any], set_threads: Callable[[int], None]) -> None:
    threads = 0
    meet_next_shape = getattr(backend, "meet_next_shape", lambda: False)
    while True:
        while not lane.poll(0) and meet_next_shape():
            pass  # Only while nobody waits: a shape takes some milliseconds.
        body = lane.recv_bytes()
        try:
            batch = unpack_batch(body)
            if batch.threads != threads and batch.threads:
                threads = batch.threads
                set_threads(threads)
            answer = pack_rows(backend.forward(batch.encodings()))
        except Exception as exc:
            logger.error("forward failed: %s", describe_error(exc))
            answer = pack_failure(InferenceOutOfMemory.code if ran_out_of_memory(exc) else "failed")
        lane.send_bytes(answer)


if __name__ == "__main__":
    sys.exit(main())
