"""An environment of its own beside ours, for packages that ours must not have: peers of the benchmarks, Ray.

    python -m tools.side_venv FOLDER REQUIREMENT [REQUIREMENT ...]

It sees our packages behind its own, so that torch is not there twice.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path


class SideVenvError(RuntimeError):
    """pip refused; the sentence has its last line."""


def build(folder: Path, requirements: Sequence[str]) -> Path:
    """The environment's interpreter; built when the folder does not have exactly these requirements.

    Raises SideVenvError.
    """
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(folder, with_pip=True, clear=True)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    (site / "zz_ours.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    constraints = folder / "constraints.txt"
    constraints.write_text("torch==2.13.0\n", encoding="utf-8")
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "-c", str(constraints), *requirements],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SideVenvError(
            f"pip could not install into {folder.name}: {done.stderr.strip().splitlines()[-1][:300]}"
        )
    stamp.write_text(wanted, encoding="utf-8")
    return python


if __name__ == "__main__":
    try:
        print(build(Path(sys.argv[1]), sys.argv[2:]))
    except SideVenvError as error:
        sys.exit(str(error))
