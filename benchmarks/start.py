"""From the start of the server's process to its first answer over HTTP, and the memory it then holds.

    python -m benchmarks.start [--rounds 5] [--servers ours-fp32,ours-bf16] [--folder DIR]

`cold`: an empty folder of artifacts, so that the model is fetched, verified and its reference answers are computed; `warm`: a
restart. Rounds are interleaved, medians. `memory_mb` is the proportional set size of all its processes (shared pages once),
`aim_mb` 1.5 times the weights and 400. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import ours
from benchmarks.models import texts
from benchmarks.processes import free_port, start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default="ours-fp32,ours-bf16")
    parser.add_argument("--folder", type=Path, help="where caches and logs are kept; else they are removed")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    names = options.servers.split(",")
    found: dict[str, dict[str, list[float]]] = {
        name: {"cold": [], "warm": [], "memory": []} for name in names
    }
    try:
        with ours.control_plane() as control:
            for turn in range(options.rounds):
                for name in names:
                    cache = folder / f"{name}-cache"
                    shutil.rmtree(cache, ignore_errors=True)
                    for kind in ("cold", "warm"):
                        seconds, memory = once(name, control, cache, folder / f"{name}-{kind}.log")
                        found[name][kind].append(seconds)
                        print(
                            f"{turn + 1}/{options.rounds} {name} {kind}: {seconds} s, {memory} MB",
                            file=sys.stderr,
                        )
                    found[name]["memory"].append(memory)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    weights = (ours.distil() / "model.safetensors").stat().st_size / 2**20
    print(
        json.dumps(
            {
                "benchmark": "start",
                "rounds": options.rounds,
                "first_200_s": {
                    name: {kind: statistics.median(kinds[kind]) for kind in ("cold", "warm")}
                    for name, kinds in found.items()
                },
                "every_round": {
                    name: {k: kinds[k] for k in ("cold", "warm")} for name, kinds in found.items()
                },
                "memory_mb": {name: statistics.median(kinds["memory"]) for name, kinds in found.items()},
                "weights_mb": round(weights, 1),
                "aim_mb": round(1.5 * weights + 400, 1),
            }
        )
    )
    return 0


def once(name: str, control: str, cache: Path, log: Path) -> tuple[float, float]:
    """(seconds to the first 200, MB held then)."""
    port = free_port()
    server = start(
        name,
        [sys.executable, "-m", "inference.server", "--port", str(port)],
        f"http://127.0.0.1:{port}/v1/predict/{ours.MODEL_ID}",
        json.dumps({"inputs": texts(1)[0]}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"},
        environment=ours.environment(control, cache, ours.VARIANTS[name]),
        log=log,
    )
    try:
        return server.start_s, server.memory_mb()
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
