"""Build the three releases of the sample model that the demo and the tests put through the gate.

| variant | what it is |
|---|---|
| v1 | half of the training rows, few epochs: works, clearly weaker |
| v2 | all training rows, more epochs: the good release |
| v3 | v2 byte for byte, but `config.json` swaps negative and positive: it loads, and answers wrongly |

`build_variants(cache_dir)` returns every file of every variant. Training runs in child processes, so the
caller never imports torch. Results are kept under `cache_dir/<digest of all inputs>/`; the second call only
reads them. `python -m tests.sample_model.build [--cache DIR]` fills the cache and prints what is in it.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.sample_model.card import LICENSE_TEXT, model_card

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
INPUTS = (HERE / "data" / "train.csv", HERE / "train.py", HERE / "card.py", HERE / "build.py")
PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "numpy")
TRAINED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
METRICS = "metrics.json"
SEED = 15

Files = dict[str, bytes]


@dataclass(frozen=True)
class Recipe:
    """How one trained variant differs from the other."""

    release: str
    epochs: int
    rows: float


RECIPES = {
    "v1": Recipe(release="1.0.0", epochs=7, rows=0.5),
    "v2": Recipe(release="2.0.0", epochs=10, rows=1.0),
}
VARIANTS = (*RECIPES, "v3")


class SampleModelError(RuntimeError):
    """The training child failed; the message ends with the last lines it wrote."""


def default_cache_dir() -> Path:
    """`ASSAY_SAMPLE_CACHE`, else `var/cache/sample-model` of the project: shared by demo and tests."""
    return Path(os.environ.get("ASSAY_SAMPLE_CACHE") or ROOT / "var" / "cache" / "sample-model")


def build_variants(cache_dir: Path) -> dict[str, Files]:
    """`{"v1" | "v2" | "v3": {path in the repository: content}}`, trained on first use, then from the cache.

    Raises SampleModelError when training fails; nothing is left in the cache then.
    """
    kept = cached_build(cache_dir)
    if not kept.is_dir():
        _build_into(kept)
    return {variant: _read_files(kept / variant) for variant in VARIANTS}


def cached_build(cache_dir: Path) -> Path:
    """Folder of the build of the present inputs: the variants and `metrics.json`. It may not exist."""
    return cache_dir.resolve() / inputs_digest()[:24]


def software_versions() -> dict[str, str]:
    """What the weights depend on beside data and code, read from package metadata without importing it."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def inputs_digest() -> str:
    """sha256 over everything that may change a byte of the result."""
    digest = hashlib.sha256()
    for path in INPUTS:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(json.dumps([software_versions(), platform.machine()], sort_keys=True).encode())
    return digest.hexdigest()


def _build_into(kept: Path) -> None:
    """Make the build beside `kept` and rename it into place, so that a reader never sees half of it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=kept.parent))
    try:
        metrics = _train_all(scratch)
        for variant, recipe in RECIPES.items():
            folder = scratch / variant
            card = model_card(recipe.release, metrics[variant], software_versions())
            (folder / "README.md").write_text(card, encoding="utf-8")
            (folder / "LICENSE").write_text(LICENSE_TEXT, encoding="utf-8")
        shutil.copytree(scratch / "v2", scratch / "v3")
        config = scratch / "v3" / "config.json"
        config.write_bytes(swap_labels(config.read_bytes()))
        (scratch / METRICS).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        scratch.chmod(0o755)  # mkdtemp's folder is closed to others; the cache may be shared
        try:
            scratch.rename(kept)
        except OSError:
            if not kept.is_dir():  # else another builder was first, with the same bytes
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _train_all(scratch: Path) -> dict[str, Any]:
    """Train the variants side by side (each uses one thread); `{variant: measured figures}`."""
    children = {
        variant: _start_training(recipe, scratch / variant, scratch / f"{variant}.json")
        for variant, recipe in RECIPES.items()
    }
    metrics = {}
    try:
        for variant, child in children.items():
            output, _ = child.communicate()
            if child.returncode != 0:
                raise SampleModelError(f"Training {variant} ended with {child.returncode}:\n{output[-3000:]}")
            figures = scratch / f"{variant}.json"
            metrics[variant] = json.loads(figures.read_text(encoding="utf-8"))
            figures.unlink()
            missing = [name for name in TRAINED_FILES if not (scratch / variant / name).is_file()]
            if missing:
                raise SampleModelError(f"Training {variant} did not write {', '.join(missing)}.")
    finally:
        for child in children.values():
            if child.stdout and not child.stdout.closed:  # not waited for: its sibling failed
                child.kill()
                child.communicate()
    return metrics


def _start_training(recipe: Recipe, out: Path, metrics: Path) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "tests.sample_model.train"),
        *("--out", str(out), "--metrics", str(metrics)),
        *("--epochs", str(recipe.epochs), "--rows", str(recipe.rows), "--seed", str(SEED)),
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        # PYTHONPATH: an importing test runner may have put this project on sys.path by other means.
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def swap_labels(config: bytes) -> bytes:
    """`config.json` with negative and positive exchanged in id2label and label2id, all else as it was."""
    settings = json.loads(config)
    other = {"negative": "positive", "positive": "negative"}
    settings["id2label"] = {key: other.get(label, label) for key, label in settings["id2label"].items()}
    settings["label2id"] = {label: int(key) for key, label in settings["id2label"].items()}
    return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()


def _read_files(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the sample model's releases into the cache.")
    parser.add_argument("--cache", type=Path, default=default_cache_dir())
    args = parser.parse_args()
    for variant, files in build_variants(args.cache).items():
        for path, content in files.items():
            print(f"{variant}/{path} {len(content)} sha256:{hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
