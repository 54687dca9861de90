"""The inspectors' process: its bounds hold, it knows no secret, and its end is a sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import inspecting, store
from registry.exceptions import InvalidInput, JobFailed
from tests.sample_hub.samples import tiny_model


def put(files: dict[str, bytes]) -> dict[str, tuple[str, int]]:
    return {path: (store.put([data], size=len(data)).sha256, len(data)) for path, data in files.items()}


def test_child_inspects_what_lies_in_the_store() -> None:
    result = inspecting.inspect_in_child("acme/sentiment", put(tiny_model()), None)
    assert result.label_mapping == {"0": "negative", "1": "positive"}
    assert result.facts["weights"]["parameters"] == 4


def test_a_refusal_of_the_inspectors_is_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"config\.json is not valid JSON") as refusal:
        inspecting.inspect_in_child("acme/x", put({**tiny_model(), "config.json": b"{"}), None)
    assert refusal.value.code == "bad_document"


def test_environment_of_the_child_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "ASSAY_SECRET_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    assert "hush" not in inspecting.environment().values()


def test_memory_limit_ends_the_inspection(settings: Any) -> None:
    settings.INSPECTION_MEMORY_MB = 120
    vocabulary = {f"token{n}": n for n in range(600_000)}
    large = json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary}}).encode()
    with pytest.raises(JobFailed, match=r"memory|stopped with code"):
        inspecting.inspect_in_child("acme/x", put({**tiny_model(), "tokenizer.json": large}), None)


def test_time_limit_ends_the_inspection(settings: Any) -> None:
    settings.INSPECTION_TIMEOUT_S = 1
    vocabulary = {f"token{n}": n for n in range(600_000)}
    large = json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary}}).encode()
    with pytest.raises(JobFailed, match="seconds of processor time") as failure:
        inspecting.inspect_in_child("acme/x", put({**tiny_model(), "tokenizer.json": large}), None)
    assert failure.value.code == "inspection_failed"


def test_child_that_dies_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(JobFailed, match="inspection of this repository failed"):
        inspecting.inspect_in_child("acme/x", put(tiny_model()), None)


def test_child_cannot_write_a_file(tmp_path: Any) -> None:
    """Even an inspector that is fooled has nowhere to leave something."""
    target = tmp_path / "written"
    code = (
        "from registry.inspection.child import confine; confine(2**31, 10)\n"
        f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen({str(target)!r}, 'w').write('x')"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=inspecting.environment(), cwd=Path.cwd(), capture_output=True, check=False
    )  # fmt: skip
    assert not target.exists() or target.stat().st_size == 0


def test_inspection_code_does_not_load_django() -> None:
    code = "import sys, registry.inspection.run, registry.inspection.child; print('django' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], env=inspecting.environment(), capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


def test_digest_of_the_code_changes_with_code_and_with_keys() -> None:
    digests = set()
    for config, code in (("m.A", b"a = 1\n"), ("m.A", b"a = 2\n"), ("m.B", b"a = 1\n")):
        files = tiny_model()
        files["config.json"] = json.dumps(
            {**json.loads(files["config.json"]), "auto_map": {"AutoModel": config}}
        ).encode()
        files["m.py"] = code
        digests.add(inspecting.inspect_in_child("acme/x", put(files), None).remote_code_sha256)
    assert len(digests) == 3 and None not in digests


def test_manifest_follows_relative_imports() -> None:
    files = tiny_model()
    files["config.json"] = json.dumps(
        {**json.loads(files["config.json"]), "auto_map": {"AutoModel": "modeling.X"}}
    ).encode()
    files["modeling.py"] = b"from .layers import attention\nfrom . import helper\n"
    files["layers/__init__.py"] = b""
    files["layers/attention.py"] = b"from ..deep import thing\n"
    files["deep.py"] = b"import os\nos.system('id')\n"
    files["helper.py"] = b""
    files["train.py"] = b"import subprocess\n"
    manifest = inspecting.inspect_in_child("acme/x", put(files), None).facts["code"]
    by_path = {entry["path"]: entry for entry in manifest}
    assert {path for path, entry in by_path.items() if entry["reachable"]} == {
        "modeling.py", "layers/__init__.py", "layers/attention.py", "deep.py", "helper.py",
    }  # fmt: skip
    assert {"line": 2, "call": "os.system", "why": "starts a program"} in by_path["deep.py"]["flagged"]
    assert by_path["deep.py"]["sha256"] == hashlib.sha256(files["deep.py"]).hexdigest()
