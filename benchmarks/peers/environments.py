"""One virtual environment a peer, below var/peers. It sees our packages behind its own, so that torch is not there twice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tools.side_venv import SideVenvError, build

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).resolve().parent / "servers"


@dataclass(frozen=True)
class Peer:
    """`requirements` are pip's words; `module` is run as `python SERVERS/module --model DIR --port P` in its environment.

    `path` is where one text is posted, `single` and `many` how a body is written: {} is a JSON string, or a JSON list of them.
    `many` is empty for a server that takes one text a request.
    """

    name: str
    requirements: tuple[str, ...]
    module: str
    path: str
    single: str
    many: str
    arguments: tuple[str, ...] = ()


PEERS = (
    Peer(
        "fastapi",
        ("fastapi==0.165.0",),
        "fastapi_pipeline.py",
        "/predict",
        '{{"inputs": {}}}',
        '{{"inputs": {}}}',
    ),
    Peer("litserve", ("litserve==0.2.19",), "litserve_batch.py", "/predict", '{{"inputs": {}}}', ""),
    Peer(
        "bentoml",
        ("bentoml==1.4.39",),
        "bentoml_batch.py",
        "/predict",
        '{{"inputs": [{}]}}',
        '{{"inputs": {}}}',
    ),
    Peer(
        "infinity",
        (
            "infinity-emb[server]==0.0.78",
            "optimum[onnxruntime]==2.1.0",
            "transformers==4.57.6",
            "huggingface_hub<1",
            "onnx",
            "onnxruntime==1.32.0",
            "typer<0.20",
            "click<8.2",
        ),
        "infinity_onnx.py",
        "/classify",
        '{{"model": "distil", "input": [{}]}}',
        '{{"model": "distil", "input": {}}}',
    ),
)


class PeerError(RuntimeError):
    """A peer that cannot be built or started; the sentence is recorded in the result."""


def python_of(peer: Peer) -> Path:
    """The interpreter of the peer's environment, built when it is not there. Raises PeerError."""
    try:
        return build(ROOT / "var" / "peers" / peer.name, peer.requirements)
    except SideVenvError as error:
        raise PeerError(str(error)) from error


def command(peer: Peer, model: Path, port: int) -> list[str]:
    return [
        str(python_of(peer)), str(SERVERS / peer.module), "--model", str(model), "--port", str(port), *peer.arguments,
    ]  # fmt: skip


if __name__ == "__main__":
    for one in PEERS:
        try:
            print(one.name, python_of(one))
        except PeerError as error:
            print(error, file=sys.stderr)
