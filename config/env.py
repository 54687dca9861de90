"""Every setting of the environment, declared once: name, default, how it is read, what it is for.

`docs/settings.md` is generated from this table (`python -m config.env`) and a test compares the two. Bad values are
refused at start with the cure; a secret may come from a file through `<NAME>_FILE`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Setting:
    """One environment variable: `default` is the text used when it is not set."""

    name: str
    default: str
    read: Callable[[str, str], Any]
    help: str


def text(name: str, value: str) -> str:
    return value


def boolean(name: str, value: str) -> bool:
    """Only `true` or `false`: a typo must not silently switch something off."""
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ImproperlyConfigured(f"{name} is {value!r}; write true or false.")


def integer(name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a whole number.") from None
    if number < 0:
        raise ImproperlyConfigured(f"{name} is {number}; it cannot be negative.")
    return number


def words(name: str, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def networks(name: str, value: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(word) for word in words(name, value)]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name} is {value!r}; write addresses or networks, as 10.0.0.5,10.1.0.0/16 ({error})."
        ) from None


def mode(name: str, value: str) -> str:
    if value not in ("embedded", "production"):
        raise ImproperlyConfigured(f"{name} is {value!r}; write embedded or production.")
    return value


def acceleration(name: str, value: str) -> str:
    """Empty, `sendfile`, or an internal location of nginx such as `/assay-store/`."""
    if value in ("", "sendfile") or (value.startswith("/") and value.endswith("/")):
        return value
    raise ImproperlyConfigured(
        f"{name} is {value!r}; leave it empty, or write sendfile, or the internal location of nginx, as /assay-store/."
    )


def store_kind(name: str, value: str) -> str:
    if value in ("folder", "s3"):
        return value
    raise ImproperlyConfigured(f"{name} is {value!r}; write folder or s3.")


def folder(name: str, value: str) -> Path:
    path = Path(value)
    return path if path.is_absolute() else BASE_DIR / path


def optional_file(name: str, value: str) -> Path | None:
    if not value:
        return None
    path = folder(name, value)
    if not path.is_file():
        raise ImproperlyConfigured(f"{name} names {path}, which is not a file. Write the path of a PEM file.")
    return path


def paths(name: str, value: str) -> list[Path]:
    return [folder(name, word) for word in words(name, value)]


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "ASSAY_MODE", "embedded", mode, "`embedded` (one machine, everything private) or `production`."
        ),
        Setting(
            "ASSAY_DATA", "var", folder, "Folder of the database, the store, the broker's files and logs."
        ),
        Setting(
            "ASSAY_SECRET_KEY", "", text, "Django's signing key. Embedded mode makes one in the data folder."
        ),
        Setting("ASSAY_DEBUG", "false", boolean, "Django's debug pages. Refused in production."),
        Setting("ASSAY_HOSTS", "localhost,127.0.0.1", words, "Host names this installation answers to."),
        Setting(
            "ASSAY_TRUSTED_ORIGINS", "", words, "Origins (https://…) that may post forms, behind a TLS proxy."
        ),
        Setting(
            "ASSAY_TRUSTED_PROXIES",
            "",
            networks,
            "Addresses or networks of proxies whose X-Forwarded-For names the client. Empty: none is believed.",
        ),
        Setting(
            "ASSAY_PUBLIC_URL",
            "http://127.0.0.1:8000",
            text,
            "Address that people and clients use for the web.",
        ),
        Setting(
            "ASSAY_INFERENCE_URL",
            "http://127.0.0.1:8100",
            text,
            "Address of the inference server, shown in snippets.",
        ),
        Setting(
            "DATABASE_URL", "", text, "PostgreSQL as postgresql://…; empty is SQLite in the data folder."
        ),
        Setting(
            "ASSAY_BROKER_URL", "", text, "Redis as redis://…; empty is the private Redis in the data folder."
        ),
        Setting(
            "ASSAY_WEB_PORT",
            "8000",
            integer,
            "Port of the web in the embedded set-up; a taken one: the next.",
        ),
        Setting(
            "ASSAY_INFERENCE_PORT", "8100", integer, "Port of inference in the embedded set-up, likewise."
        ),
        Setting("ASSAY_DEMO_HUB_PORT", "8200", integer, "Port of the demo's sample Hub, likewise."),
        Setting("HF_ENDPOINT", "https://huggingface.co", text, "The Hub that intake reads from."),
        Setting(
            "ASSAY_HUB_TIMEOUT_S",
            "10",
            integer,
            "Seconds without a byte before the Hub counts as unreachable.",
        ),
        Setting(
            "ASSAY_HUB_MIN_KBPS", "64", integer, "Slowest average download that is waited for, in KiB/s."
        ),
        Setting("ASSAY_HUB_FILE_GRACE_S", "120", integer, "Seconds every file may take beyond that speed."),
        Setting(
            "ASSAY_HUB_RETRIES",
            "5",
            integer,
            "Tries in a row without a new byte before a download is given up.",
        ),
        Setting("ASSAY_MAX_FILE_MB", "20480", integer, "Largest single file of a revision, in MiB."),
        Setting("ASSAY_MAX_REVISION_MB", "51200", integer, "Largest revision in all, in MiB."),
        Setting("ASSAY_MAX_FILES", "1000", integer, "Most files in a revision."),
        Setting(
            "ASSAY_INSPECTION_TIMEOUT_S",
            "120",
            integer,
            "Processor seconds the inspection of a revision may use.",
        ),
        Setting(
            "ASSAY_INSPECTION_MEMORY_MB", "2048", integer, "Memory of the inspection's child process, in MiB."
        ),
        Setting(
            "ASSAY_ACCEL",
            "",
            acceleration,
            "The front server sends the bytes of /hub: nginx's internal `/assay-store/` or `sendfile` (docs/hub.md).",
        ),
        Setting(
            "ASSAY_STORE",
            "folder",
            store_kind,
            "`folder` or `s3`: where the bytes of models lie (docs/store.md).",
        ),
        Setting("ASSAY_S3_BUCKET", "", text, "With s3: the bucket."),
        Setting(
            "ASSAY_S3_ENDPOINT", "", text, "With s3: address of a server that is not Amazon's, as https://…"
        ),
        Setting("ASSAY_S3_REGION", "", text, "With s3: the region."),
        Setting("ASSAY_S3_PREFIX", "", text, "With s3: where in the bucket, as assay/; empty is all of it."),
        Setting("ASSAY_S3_ACCESS_KEY", "", text, "With s3: access key id; empty is the machine's own role."),
        Setting(
            "ASSAY_S3_SECRET_KEY", "", text, "With s3: its secret, better through ASSAY_S3_SECRET_KEY_FILE."
        ),
        Setting(
            "ASSAY_S3_TIMEOUT_S", "10", integer, "Seconds without an answer before the bucket counts as down."
        ),
        Setting(
            "ASSAY_S3_CACHE_MB", "51200", integer, "With s3: largest folder of local verified copies, in MiB."
        ),
        Setting(
            "ASSAY_STORE_GC_H", "24", integer, "Hours until a stored file that no revision uses is deleted."
        ),
        Setting("ASSAY_SCRUB_S", "3600", integer, "Seconds between scrubs, which re-hash stored files."),
        Setting("ASSAY_SCRUB_BUDGET_S", "60", integer, "Seconds that one scrub may re-hash."),
        Setting("ASSAY_JOB_LEASE_S", "60", integer, "Seconds a worker owns a job without a heartbeat."),
        Setting("ASSAY_JOB_HEARTBEAT_S", "15", integer, "Seconds between heartbeats of a running job."),
        Setting("ASSAY_JOB_SWEEP_S", "30", integer, "Seconds between sweeps for lost jobs."),
        Setting("ASSAY_JOB_TIMEOUT_S", "1800", integer, "Seconds a job may run before it is ended."),
        Setting(
            "ASSAY_CHILD_MEMORY_MB",
            "8192",
            integer,
            "Address space of a model child process, in MiB; 0 is none.",
        ),
        Setting(
            "ASSAY_SIGNING_KEY",
            "",
            optional_file,
            "Path of the Ed25519 private key (PEM) that signs lock files. Embedded mode makes one in the data folder.",
        ),
        Setting(
            "ASSAY_MODEL_SIGNING_KEY",
            "",
            optional_file,
            "Path of the EC P-256 private key (PEM) that signs lists of files for the `model-signing` library.",
        ),
        Setting(
            "ASSAY_WITNESSES",
            "",
            paths,
            "Folders, git repositories or files outside, comma-separated, that also get each audit checkpoint (docs/audit.md).",
        ),
        Setting("ASSAY_COOKIE_SECURE", "", text, "true or false; empty follows the mode (production: true)."),
        Setting("ASSAY_LOG_LEVEL", "INFO", text, "Level of the log (DEBUG, INFO, WARNING, ERROR)."),
        Setting(
            "ASSAY_LOG_MB",
            "20",
            integer,
            "Size at which the embedded set-up sets a log file aside, in MiB; three old ones are kept. 0 is never.",
        ),
    )
}


def read(name: str) -> Any:
    """The value of a declared setting.

    Raises ImproperlyConfigured (with the cure) for a bad value or an unreadable `<NAME>_FILE`.
    """
    setting = SETTINGS[name]
    file = os.environ.get(f"{name}_FILE")
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE names {file}, which cannot be read: {error}.") from error
    else:
        value = os.environ.get(name, setting.default)
    return setting.read(name, value)


def as_markdown() -> str:
    """The table of `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Environment variables, read in one place (`config/env.py`; this page is generated from it with",
        "`python -m config.env > docs/settings.md`). Each may also come from a file named by `<NAME>_FILE`.",
        "",
        "| variable | default | what it is for |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{s.name}` | {f'`{s.default}`' if s.default else '(empty)'} | {s.help} |"
        for s in SETTINGS.values()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
