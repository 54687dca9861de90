"""A real nginx on loopback: the sample configuration of config/nginx before a web process, and a plain server of files.

Used by the benchmark of the Hub endpoint and by its tests, so that what people copy is what was run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent.parent / "config" / "nginx" / "assay.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")


def sample(*, port: int, web: str, store: Path) -> str:
    """The sample with this machine's values in the lines that are marked "yours"; no TLS, which needs a certificate."""
    text = SAMPLE.read_text(encoding="utf-8")
    for was, now in (
        ("server 127.0.0.1:8000;", f"server {web};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("server_name assay.example.com;", "server_name localhost;"),
        ("    ssl_certificate     /etc/ssl/certs/assay.pem;", "    #"),
        ("    ssl_certificate_key /etc/ssl/private/assay.key;", "    #"),
        ("alias /var/lib/assay/store/;", f"alias {store}/;"),
    ):
        assert text.count(was) == 1, f"{SAMPLE.name} no longer has the line {was!r}"
        text = text.replace(was, now)
    return text


@contextmanager
def nginx(folder: Path, servers: str, port: int) -> Iterator[None]:
    """nginx with these server blocks, once it answers on `port`. Its files are in `folder`."""
    assert NGINX, "nginx is missing: apt-get install nginx-light"
    folder.mkdir(parents=True, exist_ok=True)
    # As root its workers would be another user, who may not enter a private temporary folder.
    user = "user root;" if os.geteuid() == 0 else ""
    path = folder / "nginx.conf"
    path.write_text(
        f"""
{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 2;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fast;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
""",
        encoding="utf-8",
    )
    process = subprocess.Popen([NGINX, "-e", f"{folder}/error.log", "-c", str(path)], stderr=subprocess.PIPE)
    try:
        _wait(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(
                f"nginx did not start: {process.communicate()[1].decode(errors='replace')[-1000:]}"
            )
        with socket.socket() as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nginx did not answer")
