"""The inference server on one CUDA device, over HTTP: the real process, loaded from other processes.

    python -m benchmarks.gpu_http [--setups 1x0,1x8,1x12,4x0] [--seconds 8]      from the repository's root

Needs what the server needs (torch, tokenizers, safetensors, orjson, uvicorn, prometheus-client, httpx) and starlette; no
network and no Django. A setup is REPLICASxWORKERS: so many servers on the one device, each with so many web workers (0: all in
one process).
Prints one JSON object a setup: texts/s with 32 texts a request at rising concurrency, and the latencies of single texts sent
at a steady 2,000 a second (open loop: a slow answer does not slow the sender down).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.models import texts
from benchmarks.processes import StartError, free_port, start

CLIENTS = 6  # processes that make the load
_IDLE_S = 3.0  # uvicorn closes a connection that was idle for five seconds


class Connection:
    """One kept-alive connection that posts bodies and counts bytes; no HTTP library, to leave the cores to the server."""

    def __init__(self, port: int) -> None:
        self._port, self._used_at = port, 0.0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._used_at = time.monotonic()

    async def post(self, message: bytes) -> int:
        """The status of the answer, which is read to its end."""
        if self._used_at and time.monotonic() - self._used_at > _IDLE_S:
            self._writer.close()
            self._used_at = 0.0
        if not self._used_at:
            await self.open()
        self._writer.write(message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        self._used_at = time.monotonic()
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


def message(body: dict[str, Any]) -> bytes:
    raw = json.dumps(body).encode()
    lines = (
        f"POST /v1/predict/{ours.MODEL_ID} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ours.TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return lines.encode() + raw


def closed(job: tuple[int, int, int, float, int]) -> tuple[int, list[int]]:
    """Answered requests and the other statuses of one process: `connections` that each wait for their answer."""
    port, connections, batch, seconds, offset = job

    async def run() -> tuple[int, list[int]]:
        every = texts()
        groups = [every[i : i + batch] for i in range(0, len(every) - batch + 1, batch)]
        messages = [message({"inputs": group}) for group in groups]
        until = time.monotonic() + seconds
        done, refused = 0, []

        async def one(number: int) -> None:
            nonlocal done
            connection, at = Connection(port), offset * 37 + number * 11
            while time.monotonic() < until:
                status = await connection.post(messages[at % len(messages)])
                at += 1
                if status == 200:
                    done += 1
                else:
                    refused.append(status)
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(one(n) for n in range(connections)))
        return done, refused

    return asyncio.run(run())


def steady(job: tuple[int, float, float, int]) -> list[float]:
    """Latencies in ms of single texts sent by the clock; -1 for one that was refused."""
    port, rate, seconds, offset = job

    async def run() -> list[float]:
        messages = [message({"inputs": text}) for text in texts()]
        free: list[Connection] = []
        taken: list[float] = []
        began = time.monotonic()

        async def one(number: int, due: float) -> None:
            connection = free.pop() if free else Connection(port)
            status = await connection.post(messages[(offset + number) % len(messages)])
            taken.append((time.monotonic() - due) * 1000 if status == 200 else -1.0)
            free.append(connection)

        tasks = []
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(number, due)))
        await asyncio.gather(*tasks)
        return taken[len(taken) // 5 :]

    return asyncio.run(run())


def load(result: dict[str, Any], ports: list[int], options: argparse.Namespace) -> None:
    """Fills `result`; the load's processes are spread over the replicas, as a balancer would."""
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
        where = [ports[n % len(ports)] for n in range(CLIENTS)]
        pool.map(closed, [(where[n], 4, 32, 3.0, n) for n in range(CLIENTS)])  # warm
        for connections in (1, 4, 16):
            parts = pool.map(
                closed, [(where[n], connections, 32, options.seconds, n) for n in range(CLIENTS)]
            )
            refused = Counter(status for part in parts for status in part[1])
            result[f"32 texts, c={connections * CLIENTS}"] = {
                "texts_s": round(sum(part[0] for part in parts) * 32 / options.seconds), "refused": dict(refused),
            }  # fmt: skip
        jobs = [(where[n], options.rate / CLIENTS, options.seconds, n * 300) for n in range(CLIENTS)]
        taken = [one for part in pool.map(steady, jobs) for one in part]
    good = sorted(t for t in taken if t >= 0)
    cuts = statistics.quantiles(good, n=100)
    result[f"single texts, {options.rate:g}/s"] = {
        "answered": len(good), "refused": len(taken) - len(good),
        "p50_ms": round(cuts[49], 2), "p95_ms": round(cuts[94], 2), "p99_ms": round(cuts[98], 2),
    }  # fmt: skip
    usage = subprocess.run(
        ["ps", "-eo", "pcpu,rss,args", "--sort=-pcpu"], capture_output=True, text=True
    ).stdout
    result["processes"] = [line[:90] for line in usage.splitlines()[1:8]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--setups", default="1x0,1x8,1x12,4x0", help="REPLICASxWORKERS, one after the other")
    parser.add_argument("--log", type=Path, help="keep the log of each setup's first server in this folder")
    options = parser.parse_args()
    for setup in options.setups.split(","):
        replicas, workers = map(int, setup.split("x"))
        try:
            result = measure(replicas, workers, options)
        except StartError as exc:
            result = {"replicas": replicas, "web_workers": workers, "error": str(exc)}
        print(json.dumps({"benchmark": "gpu_http", "precision": options.precision, **result}), flush=True)


def measure(replicas: int, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """One setup, started, loaded and ended. Raises StartError."""
    result: dict[str, Any] = {"cores": os.cpu_count(), "replicas": replicas, "web_workers": workers}
    body = json.dumps({"inputs": texts()[0]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"}
    more = {
        "ASSAY_SERVER_PRECISION": options.precision,
        "ASSAY_SERVER_MAX_QUEUED_INPUTS": "8192",
        "ASSAY_SERVER_MAX_CONCURRENT_REQUESTS": "4096",
        "ASSAY_SERVER_WEB_WORKERS": str(workers),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control = stack.enter_context(ours.control_plane())
        ports = [free_port() for _ in range(replicas)]
        for port in ports:
            server = start(
                "server",
                [sys.executable, "-m", "inference.server", "--port", str(port)],
                f"http://127.0.0.1:{port}/v1/predict/{ours.MODEL_ID}",
                body,
                headers=headers,
                environment={**ours.environment(control, folder / f"cache-{port}", {}), **more},
                log=folder / f"server-{port}.log",
                patience_s=180,
            )
            stack.callback(server.stop)
            result["start_s"] = server.start_s
        if workers > 1:
            time.sleep(3)  # the other workers come up
        load(result, ports, options)
        if options.log:
            options.log.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"server-{ports[0]}.log", options.log / f"server-{replicas}x{workers}.log")
    return result


if __name__ == "__main__":
    main()
