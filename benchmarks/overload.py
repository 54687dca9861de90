"""What becomes of our server when ten times as much comes as it can take: the real process with a real model, over loopback.

    python -m benchmarks.overload [--model tiny|distil] [--seconds 60] [--factor 10] [--connections 256] [--web-workers 0]
        [--precision fp32|bf16] [--layout adaptive|latency|throughput]

First the peak: 32 callers that each wait for their answer. Then `factor` times that rate by the clock, whatever comes back,
over at most so many connections (a request that finds none free is counted as not sent). Then one caller again, until the
answers come as they did before. Stops by itself. Prints one JSON object: answered over peak, the slowest hundredth of answers
and of refusals, seconds to recovery, canary and memory before and after; `met` says which aims hold: goodput >= 90 % of the
peak, refused within 100 ms, answered within the deadline, recovered within 5 s, canary the same. The client runs on the same
cores and takes its share of them (`client_cores`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import uvloop

from benchmarks import ours
from benchmarks.gpu_http import message
from benchmarks.models import build, texts
from benchmarks.processes import Server, free_port, start

CALLERS = 32
DEADLINE_S = 10.0
# uvicorn closes a connection that was idle for five seconds; one that is about to be closed is not used.
KEPT_S = 4.0
TICK_S = 0.005
CANARY = ["The delivery was late and support was terrible.", "Giao hàng nhanh.", "word " * 60]


@dataclass
class Load:
    """What came back: (status, seconds from sending to the whole answer)."""

    answers: list[tuple[int, float]] = field(default_factory=list)
    not_sent: int = 0
    broken: int = 0
    late_s: list[float] = field(default_factory=list)

    def of(self, *statuses: int) -> list[float]:
        return sorted(spent for status, spent in self.answers if status in statuses)

    def statuses(self) -> dict[str, int]:
        found = [status for status, _ in self.answers]
        return {str(status): found.count(status) for status in sorted(set(found))}


class Line(asyncio.Protocol):
    """One kept connection. It reads a status and a length and no more: what the client computes, the server lacks."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest, self._end = b"", 0
        self._then: Callable[[int], None] | None = None
        self.used_at = time.monotonic()
        self.open = True

    def post(self, body: bytes, then: Callable[[int], None]) -> None:
        """`then` gets the status once the whole answer is there; 0 when the connection ended before."""
        self._then, self._rest, self._end = then, b"", 0
        self._transport.write(body)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self._end and (head := self._rest.find(b"\r\n\r\n")) >= 0:
            at = self._rest.find(b"content-length: ") + 16
            self._end = head + 4 + int(self._rest[at : self._rest.index(b"\r", at)])
        if self._end and len(self._rest) >= self._end:
            self._tell(int(self._rest[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._tell(0)

    def _tell(self, status: int) -> None:
        self.used_at = time.monotonic()
        then, self._then = self._then, None
        if then is not None:
            then(status)


class Client:
    """At most so many kept connections to one server."""

    def __init__(self, port: int, most: int) -> None:
        self._port, self._most = port, most
        self._lines, self._free = 0, list[Line]()

    async def connect(self) -> None:
        """Open all connections now: opening one is not what is measured."""
        while self._lines < self._most:
            await self._open()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(Line, "127.0.0.1", self._port)
        self._lines += 1
        self._free.append(line)

    def post(self, body: bytes, load: Load, then: Callable[[int], None] | None = None) -> bool:
        """Whether it was sent; `then` gets the status (0: nothing came back)."""
        while self._free:
            line = self._free.pop()
            if line.open and time.monotonic() - line.used_at < KEPT_S:
                break
            self._drop(line)
        else:
            load.not_sent += 1
            return False
        began = time.monotonic()

        def answered(status: int) -> None:
            if status:
                load.answers.append((status, time.monotonic() - began))
                self._free.append(line)
            else:
                load.broken += 1
                self._drop(line)
            if then is not None:
                then(status)

        line.post(body, answered)
        return True

    async def send(self, body: bytes, load: Load) -> int:
        """Post and wait: the status; 0 when nothing came back."""
        if not self._free:
            await self._open()
        came: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        while not self.post(body, load, came.set_result):
            load.not_sent -= 1
            await self._open()
        return await came

    def _drop(self, line: Line) -> None:
        self._lines -= 1
        if line.open:
            line.close()
        task = asyncio.ensure_future(self.connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    _opening: ClassVar[set[asyncio.Future[None]]] = set()


async def closed(client: Client, bodies: list[bytes], callers: int, seconds: float) -> Load:
    """Callers that wait for their answers."""
    load, until = Load(), time.monotonic() + seconds

    async def call(number: int) -> None:
        at = number * 61
        while time.monotonic() < until:
            if await client.send(bodies[at % len(bodies)], load) != 200:
                await asyncio.sleep(0.05)
            at += 1

    await asyncio.gather(*(call(n) for n in range(callers)))
    return load


async def by_the_clock(client: Client, bodies: list[bytes], rate: float, seconds: float) -> Load:
    """Requests at a rate, whatever comes back: every 5 ms those that are due."""
    load, began = Load(), time.monotonic()
    number, whole = 0, int(rate * seconds)
    while number < whole:
        await asyncio.sleep(TICK_S)
        now = time.monotonic() - began
        if now > seconds + 1:
            break  # The client cannot keep up; what it offered is what it sent.
        while number < whole and number / rate <= now:
            load.late_s.append(now - number / rate)
            client.post(bodies[number % len(bodies)], load)
            number += 1
    until = time.monotonic() + DEADLINE_S + 5
    while len(load.answers) + load.not_sent + load.broken < number and time.monotonic() < until:
        await asyncio.sleep(0.01)
    return load


async def recovery(client: Client, bodies: list[bytes], normal_s: float, patience_s: float) -> float | None:
    """Seconds until five answers in a row are as quick as before; None when they never are."""
    began, good = time.monotonic(), 0
    while time.monotonic() - began < patience_s:
        load = Load()
        status = await client.send(bodies[good], load)
        quick = status == 200 and load.answers[0][1] <= normal_s
        if quick and not good:
            first = time.monotonic()
        good = good + 1 if quick else 0
        if good == 5:
            return first - began
        if status != 200:
            await asyncio.sleep(0.05)
    return None


async def run(port: int, server: Server, options: argparse.Namespace) -> dict[str, Any]:
    bodies = [message({"inputs": text}) for text in texts()]
    client = Client(port, options.connections)
    await client.connect()
    await closed(client, bodies, CALLERS, 3)  # warm
    alone = await closed(client, bodies, 1, 4)
    peak = await closed(client, bodies, CALLERS, max(5.0, options.seconds / 4))
    peak_s = len(peak.of(200)) / max(5.0, options.seconds / 4)
    before, memory = canary(server.url), server.memory_mb()
    began, own_s, speaks_s = time.monotonic(), time.process_time(), speaking_s(server)
    over = await by_the_clock(client, bodies, peak_s * options.factor, options.seconds)
    spent, own_s = time.monotonic() - began, time.process_time() - own_s
    speaks_s = speaking_s(server) - speaks_s
    normal_s = 2 * at(alone.of(200), 0.95)
    back = await recovery(client, bodies, normal_s, 30)
    after = canary(server.url)
    answered, refused = over.of(200), over.of(429)
    # What was answered after the last request was sent still belongs to the load.
    goodput = len(answered) / spent / peak_s
    result = {
        "peak_texts_s": round(peak_s, 1), "offered_s": round(len(over.answers) / spent, 1),
        "asked_s": round(peak_s * options.factor, 1), "not_sent": over.not_sent, "broken": over.broken,
        "client_cores": round(own_s / spent, 3),
        "server_cores_beside_computing": round(speaks_s / spent, 3),
        "client_late_p99_ms": ms(sorted(over.late_s), 0.99),
        "statuses": over.statuses(), "goodput_of_peak": round(goodput, 3),
        "answered_p50_ms": ms(answered, 0.5), "answered_p99_ms": ms(answered, 0.99),
        "refused_p50_ms": ms(refused, 0.5), "refused_p99_ms": ms(refused, 0.99),
        "refused_slowest_ms": ms(refused, 1.0), "alone_p50_ms": ms(alone.of(200), 0.5),
        "recovery_s": None if back is None else round(back, 2), "canary_difference": difference(before, after),
        "memory_mb": [memory, server.memory_mb()],
    }  # fmt: skip
    result["met"] = {
        "goodput >= 90 % of the peak": goodput >= 0.9,
        "refused within 100 ms (p99)": bool(refused) and at(refused, 0.99) < 0.1,
        "answered within the deadline (p99)": bool(answered) and at(answered, 0.99) <= DEADLINE_S,
        "recovered within 5 s": back is not None and back <= 5,
        "canary the same": difference(before, after) <= 1e-5,
    }
    return result


def speaking_s(server: Server) -> float:
    """Processor time of the server's processes that do not compute."""
    whole = 0.0
    for process in server.family():
        if "inference.engine.process_child" not in process.cmdline():
            whole += sum(process.cpu_times()[:2])
    return whole


def canary(url: str) -> list[float]:
    """All scores of the canary texts."""
    body = json.dumps({"inputs": CANARY, "parameters": {"top_k": 2}}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"}
    for _ in range(100):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
                lines = json.loads(answer.read())["predictions"]
            return [
                s["confidence"] for p in lines for s in sorted(p["scores"], key=lambda s: str(s["label"]))
            ]
        except OSError:  # 429 while the last of the load is answered
            time.sleep(0.1)
    raise RuntimeError("The canary was never answered.")


def difference(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def ms(ordered: list[float], share: float) -> float | None:
    return round(at(ordered, share) * 1000, 2) if ordered else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("tiny", "distil"), default="distil")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--web-workers", type=int, default=0)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--layout", default="", choices=("", "adaptive", "latency", "throughput"))
    options = parser.parse_args()
    model = build(ours.MODELS, options.model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control = stack.enter_context(ours.control_plane(model))
        port = free_port()
        server = start(
            "server",
            [sys.executable, "-m", "inference.server", "--port", str(port)],
            f"http://127.0.0.1:{port}/v1/predict/{ours.MODEL_ID}",
            json.dumps({"inputs": "x"}).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"},
            environment={
                **ours.environment(control, folder / "cache", {}),
                # All other limits as they stand by default.
                "ASSAY_SERVER_MAX_QUEUED_INPUTS": "64",
                "ASSAY_SERVER_PRECISION": options.precision,
                "ASSAY_SERVER_CPU_LAYOUT": options.layout,
                "ASSAY_SERVER_WEB_WORKERS": str(options.web_workers),
            },
            log=folder / "server.log",
            patience_s=180,
        )
        stack.callback(server.stop)
        result = uvloop.run(run(port, server, options))
    facts = {
        name: getattr(options, name)
        for name in ("model", "precision", "layout", "seconds", "factor", "connections", "web_workers")
    }
    print(json.dumps({"benchmark": "overload", "cores": os.cpu_count(), **facts, **result}))


if __name__ == "__main__":
    main()
