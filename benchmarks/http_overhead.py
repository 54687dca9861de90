"""What our path costs over HTTP itself: a request through everything but a model, beside a bare echo.

    python -m benchmarks.http_overhead [--rounds 3] [--seconds 4] [--web-workers 2]

`ours`: the real application (callers' tokens, limits, queue, log line, metrics) with the dummy backend, in one process;
`workers`: the same with web workers before a host. `echo`: a Starlette route that reads JSON and writes it back, under
uvicorn with the same settings and no log; `echo x N`: so many of them on one socket. Windows are interleaved (A B C A B C ...),
one after the other, those that are not measured are frozen. Prints one JSON object: microseconds a request at 1 and at 32
connections (medians), on the clock and of the server's processors, and the ratios. Needs `wrk` (apt-get install wrk).
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.processes import Server, free_port, start
from tests.server.control_plane import dummy_files

HERE = Path(__file__).resolve().parent
TEXT = "The delivery was late and support was terrible."
CONNECTIONS = (1, 32)


def serve_echo(port: int, processes: int) -> None:
    """What is started as `echo`."""
    import uvicorn

    uvicorn.run(
        "benchmarks.http_overhead:echo_app", host="127.0.0.1", port=port, workers=processes, log_config=None,
        access_log=False, server_header=False, factory=True,
    )  # fmt: skip


def echo_app() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def echo(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    return Starlette(routes=[Route("/v1/predict/{org}/{name}", echo, methods=["POST"])])


def serve_ours(port: int) -> None:
    """What is started as `ours` and `workers`: `python -m inference.server`, but for the backend."""
    from inference.engine.dummy import load_dummy
    from inference.server.logs import configure_logging
    from inference.server.running import serve
    from inference.server.settings import read_settings
    from inference.server.workers.host import serve_with_workers

    configure_logging()
    settings = read_settings()
    (serve_with_workers if settings.web_workers > 1 else serve)(
        settings, load_dummy, host="127.0.0.1", port=port
    )


def cpu_s(server: Server) -> float:
    """Processor time that all processes of the server have used."""
    return float(sum(sum(process.cpu_times()[:2]) for process in server.family()))


def measure(server: Server, body: Path, connections: int, seconds: float) -> tuple[float, float]:
    """Microseconds a request: on the clock, and of the server's processor time (which other work on the machine
    does not change). Raises RuntimeError when an answer was not 200."""
    before = cpu_s(server)
    headers = f"Content-Type: application/json\nAuthorization: Bearer {ours.TOKEN}"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "load.lua"), server.url],
        env={**os.environ, "BODIES": str(body), "HEADERS": headers},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if result["refused"] or result["failed"]:
        raise RuntimeError(f"{server.name}: {result}")
    spent = result["seconds"], cpu_s(server) - before
    return spent[0] / result["requests"] * 1e6, spent[1] / result["requests"] * 1e6


def start_all(stack: ExitStack, folder: Path, workers: int) -> dict[str, Server]:
    model = folder / "model"
    model.mkdir()
    for name, content in dummy_files().items():
        (model / name).write_bytes(content)
    control = stack.enter_context(ours.control_plane(model))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ours.TOKEN}"}
    servers: dict[str, Server] = {}
    for name, kind, number in (
        ("echo", "echo", 1),
        ("ours", "ours", 0),
        (f"echo x {workers}", "echo", workers),
        ("workers", "ours", workers),
    ):
        port = free_port()
        servers[name] = server = start(
            name,
            [sys.executable, "-m", "benchmarks.http_overhead",
             "--serve", kind, "--port", str(port), "--processes", str(number)],
            f"http://127.0.0.1:{port}/v1/predict/{ours.MODEL_ID}",
            json.dumps({"inputs": TEXT}).encode(),
            headers=headers,
            environment={
                **ours.environment(control, folder / f"cache-{number}", {}),
                "ASSAY_SERVER_WEB_WORKERS": str(number),
            },
            log=folder / f"{name}.log",
        )  # fmt: skip
        stack.callback(server.stop)
        server.freeze()
    return servers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--web-workers", type=int, default=2)
    parser.add_argument("--serve", choices=("echo", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "echo":
        return serve_echo(options.port, options.processes)
    if options.serve == "ours":
        return serve_ours(options.port)
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    windows: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = start_all(stack, folder, options.web_workers)
        body = folder / "body.jsonl"
        body.write_text(json.dumps({"inputs": TEXT}) + "\n")
        for turn in range(options.rounds):
            for connections in CONNECTIONS:
                for name, server in servers.items():
                    server.thaw()
                    if not turn:
                        measure(server, body, connections, 1)
                    spent = measure(server, body, connections, options.seconds)
                    server.freeze()
                    windows.setdefault(name, {}).setdefault(f"c={connections}", []).append(spent)
                    told = f"{spent[0]:.1f} us, processor {spent[1]:.1f} us"
                    print(f"{turn + 1}/{options.rounds} {name} c={connections}: {told}", file=sys.stderr)
    against = {"ours": "echo", "workers": f"echo x {options.web_workers}"}
    found: dict[str, Any] = {}
    for kind, name in enumerate(("us_a_request", "processor_us_a_request")):
        medians = {
            server: {load: round(statistics.median(s[kind] for s in spent), 1) for load, spent in by.items()}
            for server, by in windows.items()
        }
        found[name] = medians
        found[f"ratio_{name}"] = {
            server: {load: round(us / medians[echo][load], 2) for load, us in medians[server].items()}
            for server, echo in against.items()
        }
    rounded = {
        name: {load: [[round(x, 1) for x in pair] for pair in pairs] for load, pairs in by.items()}
        for name, by in windows.items()
    }
    facts = {"benchmark": "http_overhead", "rounds": options.rounds, "cores": os.cpu_count()}
    print(json.dumps({**facts, **found, "windows": rounded}))


if __name__ == "__main__":
    main()
