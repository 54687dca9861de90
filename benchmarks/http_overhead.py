"""What our path costs over HTTP itself: a request through everything but a model, beside a bare echo.

    python -m benchmarks.http_overhead [--rounds 3] [--seconds 4] [--web-workers 2]

`ours`: the real application (callers' tokens, limits, queue, log line, metrics) with the dummy backend, in one process;
`workers`: the same with web workers before a host. `echo`: a Starlette route that reads JSON and writes it back, under
uvicorn with the same settings and no log; `echo x N`: so many of them on one socket. Windows are interleaved (A B C A B C ...),
one after the other, those that are not measured are frozen. Prints one JSON object: microseconds a request at 1 and at 32
connections (medians) and the ratios. Needs `wrk` (apt-get install wrk).
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


def measure(server: Server, body: Path, connections: int, seconds: float) -> float:
    """Microseconds a request. Raises RuntimeError when an answer was not 200."""
    headers = f"Content-Type: application/json\nAuthorization: Bearer {ours.TOKEN}"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "load.lua"), server.url],
        env={**os.environ, "BODIES": str(body), "HEADERS": headers},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if result["refused"] or result["failed"]:
        raise RuntimeError(f"{server.name}: {result}")
    return float(result["seconds"] / result["requests"] * 1e6)


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
    windows: dict[str, dict[int, list[float]]] = {}
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
                    windows.setdefault(name, {}).setdefault(connections, []).append(round(spent, 1))
                    print(
                        f"{turn + 1}/{options.rounds} {name} c={connections}: {spent:.1f} us", file=sys.stderr
                    )
    medians = {
        name: {f"c={c}": statistics.median(spent) for c, spent in by.items()} for name, by in windows.items()
    }
    against = {"ours": "echo", "workers": f"echo x {options.web_workers}"}
    ratios = {
        name: {load: round(medians[name][load] / medians[echo][load], 2) for load in medians[name]}
        for name, echo in against.items()
    }
    print(
        json.dumps(
            {
                "benchmark": "http_overhead", "rounds": options.rounds, "cores": os.cpu_count(),
                "us_a_request": medians, "ratio": ratios, "windows": windows,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
