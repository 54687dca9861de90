"""Creates .venv with the pinned packages. Standard library only: it runs before anything is installed.

`python3 tools/setup_venv.py [--production]`. What pyproject.toml asks for (with the `dev` extra, unless it is for
production) is installed at the versions of constraints.txt. A stamp in the environment remembers the digest of both, so that
the second run costs nothing; an environment without a stamp that has everything already is stamped, not installed again.
Then the command `assay` is put into .venv/bin, from this folder and without a network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:
    sys.exit(
        f"Assay needs Python 3.11 or newer; this is {sys.version.split()[0]}. Run `make PYTHON=python3.11 ...`."
    )

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".assay-stamp"
CONSTRAINTS = ROOT / "constraints.txt"

# Runs inside the environment; packaging is among our pins, and pip carries a copy for a bare environment.
CHECK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
try:
    from packaging.requirements import Requirement
except ImportError:
    from pip._vendor.packaging.requirements import Requirement
wanted, pins = json.load(sys.stdin)
problems = []
for line, must in [(w, True) for w in wanted] + [(p, False) for p in pins]:
    need = Requirement(line)
    if need.marker and not need.marker.evaluate():
        continue
    try:
        found = version(need.name)
    except PackageNotFoundError:
        problems += [f"{need.name} is missing"] if must else []
        continue
    if not need.specifier.contains(found, prereleases=True):
        problems.append(f"{need.name} {found} is not {need.specifier}")
print("; ".join(problems[:5]))
"""


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [] if "--production" in sys.argv else project["optional-dependencies"]["dev"]
    return [*project["dependencies"], *extra]


def pins() -> list[str]:
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def digest() -> str:
    """Of what is to be installed: the rest of pyproject.toml may change without a new installation."""
    wanted = json.dumps([sys.version_info[:2], sorted(requirements()), sorted(pins())])
    return hashlib.sha256(wanted.encode()).hexdigest()


def what_is_wrong(python: Path) -> str:
    """The first things that are missing or have another version, or nothing."""
    if not python.is_file():
        return "there is no environment yet"
    given = json.dumps([requirements(), pins()])
    checked = subprocess.run([python, "-c", CHECK], input=given, text=True, capture_output=True, check=False)
    return checked.stdout.strip() if checked.returncode == 0 else "the environment cannot be read"


def main() -> int:
    return install_packages() or install_command()


def install_packages() -> int:
    """0 when the environment has every pinned package."""
    wanted = digest()
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8").strip() == wanted:
        return 0
    python = VENV / "bin" / "python"
    problem = what_is_wrong(python)
    if problem:
        print(f"Installing the pinned packages into {VENV} ({problem}) ...", flush=True)
        try:
            install(python)
        except subprocess.CalledProcessError as error:
            print(f"That failed (code {error.returncode}); the lines above say why. Nothing was stamped.")
            return 1
        problem = what_is_wrong(python)
        if problem:
            print(f"pip finished, but {problem}. Compare pyproject.toml with constraints.txt.")
            return 1
    STAMP.write_text(wanted + "\n", encoding="utf-8")
    return 0


def install_command() -> int:
    """0 when `assay` is in the environment: our own project, editable. Nothing is fetched: setuptools is there for torch."""
    if (VENV / "bin" / "assay").is_file() or not (
        ROOT / "cli"
    ).is_dir():  # an image has packages before it has code
        return 0
    command = [
        str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
        "--no-deps", "--no-build-isolation", "--editable", str(ROOT),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode != 0:
        print(
            "The command `assay` could not be installed; the lines above say why. `python -m cli` is the same command."
        )
        return 1
    return 0


def install(python: Path) -> None:
    """Raises CalledProcessError."""
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
        "-c",
        str(CONSTRAINTS),
    ]
    subprocess.run([*pip, *requirements()], check=True)


if __name__ == "__main__":
    sys.exit(main())
