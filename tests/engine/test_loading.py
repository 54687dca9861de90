"""What may be loaded: only a complete local snapshot whose weights fill the whole architecture."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.engine import ClassifierConfig, ModelLoadError, TextClassifier, load_backend
from inference.engine.load import load_tokenizer
from inference.engine.packed.weights import Weights
from inference.engine.reference import ReferenceBackend
from inference.engine.snapshot import check_snapshot
from tests.engine.tiny import COMMIT_SHA, LABELS, MODEL_ID, POSITIONS, tiny_config


def edit_config(snapshot: Path, **changes: Any) -> None:
    path = snapshot / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_head(snapshot: Path) -> None:
    weights = load_file(snapshot / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, snapshot / "model.safetensors", metadata={"format": "pt"})


def truncate_weights(snapshot: Path) -> None:
    path = snapshot / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def poison_weights(snapshot: Path) -> None:
    weights = load_file(snapshot / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, snapshot / "model.safetensors", metadata={"format": "pt"})


def shard_index(snapshot: Path) -> None:
    index = {"weight_map": {"classifier.weight": "model-00001-of-00002.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))


def pickle_only(snapshot: Path) -> None:
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        (lambda s: (s / "config.json").unlink(), "no_config", "no config.json"),
        (lambda s: (s / "config.json").write_text("[]"), "bad_config", "not a JSON object"),
        (lambda s: (s / "config.json").write_text("{"), "bad_config", "not readable JSON"),
        (lambda s: (s / "tokenizer.json").unlink(), "no_tokenizer", "no tokenizer files"),
        (pickle_only, "no_safetensors", "no \\*.safetensors"),
        (shard_index, "no_safetensors", "model-00001-of-00002"),
        (drop_head, "missing_weights", "lack 1 tensors"),
        (truncate_weights, "load_failed", "Cannot load the model"),
        (lambda s: edit_config(s, architectures=["DistilBertForMaskedLM"]), "unsupported_head", "MaskedLM"),
        (lambda s: edit_config(s, problem_type="regression"), "unsupported_head", "regression"),
        (lambda s: edit_config(s, id2label={"0": "a", "1": "a", "2": "b"}), "bad_labels", "same label"),
        (lambda s: edit_config(s, model_type="nonesuch"), "load_failed", "nonesuch"),
    ],
)
def test_load_refuses_a_spoiled_snapshot(
    spoiled: Path, spoil: Callable[[Path], object], code: str, sentence: str
) -> None:
    spoil(spoiled)
    with pytest.raises(ModelLoadError, match=sentence) as caught:
        load_backend(tiny_config(spoiled))
    assert caught.value.code == code
    assert str(spoiled) not in str(caught.value), "the machine's path must not leave it"


def test_load_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load_backend(tiny_config(tmp_path / "none"))
    assert caught.value.code == "no_snapshot"


def test_load_refuses_code_of_the_snapshot(spoiled: Path) -> None:
    """A config that points at Python in the repository: nothing of it runs."""
    marker = spoiled / "ran"
    (spoiled / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    edit_config(
        spoiled,
        model_type="evil",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"},
    )
    with pytest.raises(ModelLoadError):
        load_backend(tiny_config(spoiled))
    assert not marker.exists()


def test_warm_up_refuses_a_model_that_answers_nan(spoiled: Path) -> None:
    poison_weights(spoiled)
    classifier = TextClassifier(tiny_config(spoiled))
    with pytest.raises(ModelLoadError) as caught:
        classifier.warm_up()
    assert caught.value.code == "warm_up_failed"
    assert not classifier.ready


def test_check_snapshot_without_weights_accepts_tokenizer_only(spoiled: Path) -> None:
    (spoiled / "model.safetensors").unlink()
    check_snapshot(spoiled, weights=False)


def test_known_architecture_is_packed_with_labels_in_order(classifier: TextClassifier) -> None:
    assert classifier.labels == LABELS
    assert str(classifier.backend.variant) == "packed/fp32/cpu"
    assert classifier.ready


def test_reference_is_in_evaluation_mode(snapshot: Path) -> None:
    backend = load_backend(replace(tiny_config(snapshot), backend="reference"))
    assert isinstance(backend, ReferenceBackend)
    assert not backend._model.training
    assert str(backend.variant) == "reference/float32/cpu"


def test_max_length_never_passes_the_position_table(snapshot: Path) -> None:
    # The tokenizer claims 512; the model has 64 positions.
    assert load_backend(tiny_config(snapshot, max_length=256)).max_length == POSITIONS


def test_load_refuses_a_tokenizer_without_padding(spoiled: Path) -> None:
    path = spoiled / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["pad_token"]
    path.write_text(json.dumps(settings))
    assert load_tokenizer(spoiled).pad_token_id is None
    with pytest.raises(ModelLoadError) as caught:
        load_backend(replace(tiny_config(spoiled), backend="reference"))
    assert caught.value.code == "no_pad_token"
    assert load_backend(tiny_config(spoiled)).variant.backend == "packed", "which pads nothing"


@pytest.mark.parametrize(
    "changes",
    [
        {"commit_sha": "main"},
        {"commit_sha": "A" * 40},
        {"model_id": "../x"},
        {"max_length": 0},
        {"batch_size": 0},
    ],
)
def test_config_refuses_what_is_not_pinned(tmp_path: Path, changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"snapshot": tmp_path, "model_id": MODEL_ID, "commit_sha": COMMIT_SHA} | changes
    with pytest.raises(ValueError, match="must"):
        ClassifierConfig(**values)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_that_were_read_leave_the_memory_and_come_back_when_they_are_used(tmp_path: Path) -> None:
    def resident_kb() -> int:
        parts = re.split(r"^VmFlags.*$", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
        mine = [part for part in parts if str(tmp_path) in part]
        return sum(int(re.findall(r"^Rss: +(\d+)", part, re.MULTILINE)[0]) for part in mine)

    tensors = {f"layer.{i}": torch.full((1000, 1001), float(i)) for i in range(4)}
    save_file({"odd": torch.ones(3), **tensors}, tmp_path / "model.safetensors")
    weights = Weights(tmp_path, "layer")
    read = {name: weights.get(name) for name in tensors}
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in read.items() if tensor is not None)
    before = resident_kb()
    weights.let_go()
    assert before > 15_000 > 1_000 > resident_kb()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in read.items() if tensor is not None)
    assert len(read) == 4 and not weights.missing
