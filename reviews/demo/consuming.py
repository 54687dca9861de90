"""The engineer's part of the story: an unmodified `transformers`, in a clean process that knows two variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from reviews.demo.scene import Scene
from reviews.demo.telling import expect

TEXT = "Hàng đẹp, giao nhanh, rất hài lòng!"
# What an engineer writes: no revision anywhere.
PIPELINE = """
import json
from transformers import pipeline
from huggingface_hub import HfApi
classify = pipeline("text-classification", model={model!r})
print(json.dumps({{"sha": HfApi().model_info({model!r}).sha, "answer": classify({text!r})[0]}}))
"""
PINNED = """
from transformers import pipeline
pipeline("text-classification", model={model!r}, revision={sha!r})
"""
TIMEOUT_S = 120


def _clean_python(scene: Scene, code: str, home: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process whose environment holds HF_ENDPOINT, HF_TOKEN and what any shell has."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "HF_ENDPOINT": f"{scene.web}/hub",
        "HF_TOKEN": scene.tokens["engineer"],
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def pipeline_without_revision(scene: Scene) -> str:
    """Upstream `main` is v3 by now; the engineer names no revision and gets what production points at."""
    with tempfile.TemporaryDirectory() as home:
        run = _clean_python(scene, PIPELINE.format(model=scene.model_id, text=TEXT), home)
    expect(run.returncode == 0, f"the client failed: {run.stderr[-600:]}")
    said = json.loads(run.stdout.strip().splitlines()[-1])
    expect(said["sha"] == scene.commits["v2"], f"it got {said['sha']}, production is {scene.commits['v2']}")
    expect(said["answer"]["label"] == "positive", f"it answered {said['answer']}")
    return (
        f'HF_ENDPOINT={scene.web}/hub HF_TOKEN=... python -c \'pipeline("text-classification", '
        f'model="{scene.model_id}")\'\n'
        f"got {said['sha'][:7]} although main upstream is {scene.commits['v3'][:7]}; "
        f"{said['answer']['label']} ({said['answer']['score']:.2f})  {TEXT}"
    )


def pipeline_of_rejected(scene: Scene) -> str:
    """The same client asks for v3's commit: it reads in its own terminal why not, and where to look."""
    sha = scene.commits["v3"]
    with tempfile.TemporaryDirectory() as home:
        run = _clean_python(scene, PINNED.format(model=scene.model_id, sha=sha), home)
    expect(run.returncode != 0, "the rejected revision was loaded")
    lines = [line.strip() for line in run.stderr.splitlines() if sha[:7] in line and scene.web in line]
    expect(bool(lines), f"the terminal does not say why: {run.stderr[-600:]}")
    return f"refused; the engineer's terminal says: “{lines[-1][:300]}”"
