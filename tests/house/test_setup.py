"""`make setup` leaves the command `assay` in the environment, from this folder and without a network."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tools import setup_venv


@pytest.mark.service
@pytest.mark.slow
def test_command_is_installed_once_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, environment = tmp_path / "project", tmp_path / "environment"
    (root / "cli").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(setup_venv.ROOT / name, root)
    shutil.copytree(setup_venv.ROOT / "cli", root / "cli", dirs_exist_ok=True)
    venv.create(environment, symlinks=True)
    # Packages are looked up in the environment of this test, behind its own (which are none).
    [site] = environment.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("platlib") + "\n")
    monkeypatch.setattr(setup_venv, "ROOT", root)
    monkeypatch.setattr(setup_venv, "VENV", environment)
    monkeypatch.setenv("PIP_NO_INPUT", "1")

    assert setup_venv.install_command() == 0
    assay = environment / "bin" / "assay"
    found = subprocess.run(
        [assay, "verify", "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert found.returncode == 0 and "--format" in found.stdout, found.stderr
    # No Django, no torch: what the command loads is its own.
    loaded = "import sys; from cli.main import main; print(sorted({'django', 'torch', 'registry'} & set(sys.modules)))"
    said = subprocess.run(
        [environment / "bin" / "python", "-c", loaded],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert said.stdout.strip() == "[]"

    before = assay.stat().st_mtime_ns
    assert setup_venv.install_command() == 0 and assay.stat().st_mtime_ns == before


def test_image_without_code_installs_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_venv, "ROOT", tmp_path)
    monkeypatch.setattr(setup_venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert setup_venv.install_command() == 0
