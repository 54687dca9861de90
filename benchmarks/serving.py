"""Our server beside the others: one model, the same texts, the same client, in one run.

    python -m benchmarks.serving [--quick] [--servers ours-fp32,ours-bf16,fastapi,...] [--rounds 3]

Loads: one text a request at 1, 8 and 32 connections, and 32 texts a request at 4. All servers are up; those that are not
measured are frozen. Rounds are interleaved (A B C A B C ...); medians are printed as one JSON object, texts a second and
latencies in ms. Needs `wrk` (apt-get install wrk). A peer that does not start is recorded as such.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.models import texts
from benchmarks.peers.environments import PEERS, Peer, PeerError, command
from benchmarks.processes import Server, StartError, free_port, start

HERE = Path(__file__).resolve().parent
LOADS: dict[str, tuple[int, int]] = {"c=1": (1, 1), "c=8": (8, 1), "c=32": (32, 1), "32 texts, c=4": (4, 32)}
SECONDS = {"c=1": 3, "c=8": 4, "c=32": 5, "32 texts, c=4": 12}

# The others keep a request for as long as it takes; a server that refuses what would wait long cannot be compared with them.
PATIENT = {"ASSAY_SERVER_MAX_WAIT_S": "60", "ASSAY_SERVER_DEADLINE_S": "60"}


@dataclass
class Candidate:
    """A server and the files of bodies it is loaded with: {texts a request: file}."""

    server: Server
    bodies: dict[int, Path]
    headers: dict[str, str]


def write_bodies(folder: Path, name: str, single: str, many: str) -> dict[int, Path]:
    """The files of bodies in a server's own words, one a line."""
    all_texts = texts()
    files = {1: folder / f"{name}-1.jsonl"}
    files[1].write_text("".join(single.format(json.dumps(t)) + "\n" for t in all_texts))
    if many:
        files[32] = folder / f"{name}-32.jsonl"
        groups = [all_texts[i : i + 32] for i in range(0, len(all_texts) - 31, 32)]
        files[32].write_text("".join(many.format(json.dumps(g)) + "\n" for g in groups))
    return files


def start_peer(peer: Peer, folder: Path) -> Candidate:
    port = free_port()
    bodies = write_bodies(folder, peer.name, peer.single, peer.many)
    headers = {"Content-Type": "application/json"}
    server = start(
        peer.name,
        command(peer, ours.distil(), port),
        f"http://127.0.0.1:{port}{peer.path}",
        bodies[1].read_bytes().splitlines()[0],
        headers=headers,
        environment={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"},
        log=folder / f"{peer.name}.log",
    )
    return Candidate(server, bodies, headers)


@contextmanager
def start_ours(name: str, folder: Path) -> Iterator[Candidate]:
    bodies = write_bodies(folder, name, '{{"inputs": {}}}', '{{"inputs": {}}}')
    with ours.control_plane() as control:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"}
        port = free_port()
        server = start(
            name,
            [sys.executable, "-m", "inference.server", "--port", str(port)],
            f"http://127.0.0.1:{port}/v1/predict/{ours.MODEL_ID}",
            bodies[1].read_bytes().splitlines()[0],
            headers=headers,
            environment=ours.environment(
                control, folder / f"{name}-cache", {**ours.VARIANTS[name], **PATIENT}
            ),
            log=folder / f"{name}.log",
        )
        try:
            yield Candidate(server, bodies, headers)
        finally:
            server.stop()


def measure(candidate: Candidate, connections: int, batch: int, seconds: int) -> dict[str, float]:
    """One window. Raises RuntimeError when an answer was not 200."""
    done = subprocess.run(
        [
            "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "load.lua"),
            candidate.server.url,
        ],
        env={
            **os.environ,
            "BODIES": str(candidate.bodies[batch]),
            "HEADERS": "\n".join(f"{k}: {v}" for k, v in candidate.headers.items()),
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if result["refused"] or result["failed"]:
        raise RuntimeError(f"{candidate.server.name}: {result}")
    return {
        "texts_s": round(result["requests"] * batch / result["seconds"], 2),
        **{key: result[key] for key in ("p50_ms", "p95_ms", "p99_ms")},
    }


def rounds_of(candidates: dict[str, Candidate], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """{server: {load: medians}}"""
    windows: dict[str, dict[str, list[dict[str, float]]]] = {name: {} for name in candidates}
    for turn in range(rounds):
        for load, (connections, batch) in LOADS.items():
            for name, candidate in candidates.items():
                if batch in candidate.bodies:
                    candidate.server.thaw()
                    if not turn:
                        measure(candidate, connections, batch, 1)
                        candidate.server.settle()
                    window = measure(candidate, connections, batch, SECONDS[load])
                    candidate.server.settle()
                    candidate.server.freeze()
                    windows[name].setdefault(load, []).append(window)
                    print(f"{turn + 1}/{rounds} {name} {load}: {window}", file=sys.stderr)
    return {
        name: {
            load: {key: round(statistics.median(w[key] for w in rows), 2) for key in rows[0]}
            for load, rows in loads.items()
        }
        for name, loads in windows.items()
    }


def ratios(result: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Ours over the best peer at each load: {our variant: {load: ratio}}."""
    peers = {name: loads for name, loads in result.items() if name not in ours.VARIANTS}
    found: dict[str, dict[str, float]] = {}
    for name in result.keys() & ours.VARIANTS.keys():
        for load in LOADS:
            best = max((loads[load]["texts_s"] for loads in peers.values() if load in loads), default=0)
            if best:
                found.setdefault(name, {})[load] = round(result[name][load]["texts_s"] / best, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everyone = [*ours.VARIANTS, *(peer.name for peer in PEERS)]
    parser.add_argument("--servers", default=",".join(everyone), help="which, in this order")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="ours against fastapi, one round")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    names = ["ours-fp32", "ours-bf16", "fastapi"] if options.quick else options.servers.split(",")
    rounds = 1 if options.quick else options.rounds
    if unknown := set(names) - set(everyone):
        sys.exit(f"Unknown server {', '.join(sorted(unknown))}; there are {', '.join(everyone)}.")
    by_name = {peer.name: peer for peer in PEERS}
    not_started: dict[str, str] = {}
    candidates: dict[str, Candidate] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in names:
            try:
                if name in ours.VARIANTS:
                    candidates[name] = stack.enter_context(start_ours(name, folder))
                else:
                    candidates[name] = start_peer(by_name[name], folder)
                    stack.callback(candidates[name].server.stop)
            except (PeerError, StartError) as error:
                not_started[name] = str(error)
                print(error, file=sys.stderr)
                continue
            candidates[name].server.freeze()
        result = rounds_of(candidates, rounds)
        sizes = {}
        for name, candidate in candidates.items():
            candidate.server.thaw()
            sizes[name] = {"start_s": candidate.server.start_s, "memory_mb": candidate.server.memory_mb()}
    answer: dict[str, Any] = {
        "benchmark": "serving", "rounds": rounds, "servers": result, "sizes": sizes, "ratio_to_best_peer": ratios(result),
        "not_started": not_started,
    }  # fmt: skip
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
