"""The rules of golden sets and predictions that hold whoever writes (installed like registry/triggers.py)."""

from __future__ import annotations

from registry.triggers import Rule, append_only

RULES: list[Rule] = [
    *append_only("inference_goldenset", "A golden set"),
    *append_only("inference_goldenexample", "A golden example"),
    Rule(
        "inference_goldenexample_whole",
        "inference_goldenexample",
        "INSERT",
        "A golden set never grows: a new version is a new set.",
        "NEW.number < 1 OR NEW.number > (SELECT size FROM inference_goldenset WHERE id = NEW.golden_set_id)",
    ),
    *append_only("inference_evaluationprediction", "A prediction of an evaluation"),
]
