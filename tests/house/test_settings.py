"""Bad settings are refused at start, by name, with the cure. Each case is a real start of the settings module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "ASSAY_MODE": "production",
    "ASSAY_SECRET_KEY": "k" * 50,
    "ASSAY_HOSTS": "assay.example.com",
    "DATABASE_URL": "postgresql://assay:secret@db.example.com/assay",
    "ASSAY_BROKER_URL": "redis://:secret@redis.example.com:6379/0",
}


def start(tmp_path: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LD_LIBRARY_PATH") if key in os.environ}
    code = (
        "from config import settings as s; print(s.DEBUG, s.SESSION_COOKIE_SECURE, s.SECURE_HSTS_SECONDS > 0)"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "ASSAY_DATA": str(tmp_path), **changed},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_production_with_everything_set_starts_with_secure_cookies(tmp_path: Path) -> None:
    found = start(tmp_path, **PRODUCTION)
    assert found.stdout.split() == ["False", "True", "True"], found.stderr
    assert list(tmp_path.iterdir()) == []  # production makes no key of its own


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"ASSAY_SECRET_KEY": ""}, "ASSAY_SECRET_KEY is missing or shorter than 40 characters."),
        ({"ASSAY_SECRET_KEY": "changeme"}, "ASSAY_SECRET_KEY is missing or shorter than 40 characters."),
        ({"ASSAY_DEBUG": "true"}, "ASSAY_DEBUG is true in production"),
        ({"ASSAY_HOSTS": "*"}, "ASSAY_HOSTS must name the host names"),
        ({"ASSAY_HOSTS": ""}, "ASSAY_HOSTS must name the host names"),
        ({"DATABASE_URL": ""}, "Production needs DATABASE_URL=postgresql://"),
        ({"DATABASE_URL": "sqlite:///assay.db"}, "Production needs DATABASE_URL=postgresql://"),
        ({"ASSAY_BROKER_URL": ""}, "Production needs ASSAY_BROKER_URL=redis://"),
    ],
    ids=lambda value: "_".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_production_refuses_to_start_and_says_the_cure(
    tmp_path: Path, changed: dict[str, str], sentence: str
) -> None:
    found = start(tmp_path, **{**PRODUCTION, **changed})
    assert found.returncode != 0
    assert sentence in found.stderr.splitlines()[-1]


def test_embedded_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    assert start(tmp_path).returncode == 0
    key = tmp_path / "secret_key"
    assert len(key.read_text()) >= 50 and key.stat().st_mode & 0o077 == 0


# The rest needs no second process: one reader serves every setting.


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ASSAY_MODE", "prod", "ASSAY_MODE is 'prod'; write embedded or production."),
        ("ASSAY_DEBUG", "1", "ASSAY_DEBUG is '1'; write true or false."),
        ("ASSAY_DEBUG", "yes", "ASSAY_DEBUG is 'yes'; write true or false."),
        ("ASSAY_JOB_LEASE_S", "a minute", "ASSAY_JOB_LEASE_S is 'a minute'; write a whole number."),
        ("ASSAY_JOB_LEASE_S", "-1", "ASSAY_JOB_LEASE_S is -1; it cannot be negative."),
        ("ASSAY_SIGNING_KEY", "/none.pem", "ASSAY_SIGNING_KEY names /none.pem, which is not a file."),
        ("ASSAY_MAX_FILES", "1e3", "ASSAY_MAX_FILES is '1e3'; write a whole number."),
    ],
)
def test_bad_value_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=sentence.replace("'", ".")):
        env.read(name)


def test_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-a-file\n")
    monkeypatch.setenv("ASSAY_SECRET_KEY", "from-the-environment")
    monkeypatch.setenv("ASSAY_SECRET_KEY_FILE", str(file))
    assert env.read("ASSAY_SECRET_KEY") == "from-a-file"


def test_secret_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSAY_SECRET_KEY_FILE", str(tmp_path / "missing"))
    with pytest.raises(
        ImproperlyConfigured, match=r"ASSAY_SECRET_KEY_FILE names .*missing, which cannot be read"
    ):
        env.read("ASSAY_SECRET_KEY")


def test_every_default_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in env.SETTINGS.values():
        monkeypatch.delenv(setting.name, raising=False)
        monkeypatch.delenv(f"{setting.name}_FILE", raising=False)
        if setting.name != "ASSAY_COOKIE_SECURE":
            env.read(setting.name)
