"""Evidence prepared for its tables: differences to the incumbent, shaded cells, examples in words."""

from __future__ import annotations

from typing import Any

from inference.models import EvaluationPrediction
from registry.models import Evidence
from registry.words import gettext, joined

SHADES = 5


def _shade(share: float) -> str:
    """`share-0` ... `share-5`: the CSS class of a cell's share of its row or of the best cell."""
    return f"share-{min(SHADES, max(0, round(share * SHADES)))}"


def benchmark_context(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    data = evidence.data
    best = max((cell["throughput_texts_s"] for cell in data["grid"]), default=1) or 1
    grid = [{**cell, "share_class": _shade(cell["throughput_texts_s"] / best)} for cell in data["grid"]]
    top = max(data["grid"], key=lambda cell: cell["throughput_texts_s"], default=None)
    verdict = (
        gettext(
            "Batches of %(batch)s at %(length)s tokens give the most on this hardware: %(rate)s texts/s.",
            batch=top["batch_size"],
            length=top["max_length"],
            rate=f"{top['throughput_texts_s']:.0f}",
        )
        if top
        else ""
    )
    return {**data, "grid": grid, "verdict": verdict, "job": evidence.job}


def evaluation_context(evidence: Evidence | None, incumbent: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    data = evidence.data
    comparable = incumbent.data if incumbent and _same_set(data, incumbent.data) else None
    deltas = [
        _delta(name, key, data, comparable)
        for name, key in ((gettext("Accuracy"), "accuracy"), (gettext("Macro F1"), "macro_f1"))
    ]
    return {
        "data": data,
        "incumbent": comparable,
        "deltas": deltas,
        "verdict": _verdict(data, comparable),
        "confusion": _confusion(data),
        "errors": _errors(evidence),
        "golden_set": gettext(
            "%(name)s, %(n)s examples", name=data["golden_set"]["name"], n=data["golden_set"]["size"]
        ),
        "at": evidence.created_at,
        "job": evidence.job,
    }


def _same_set(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Scores on different golden sets are not comparable."""
    return bool(one["golden_set"]["sha256"] == other["golden_set"]["sha256"])


def _delta(name: str, key: str, data: dict[str, Any], incumbent: dict[str, Any] | None) -> dict[str, Any]:
    if incumbent is None:
        return {"name": name, "value": data[key], "incumbent": None, "delta": None}
    delta = data[key] - incumbent[key]
    tone, words = (
        ("ok", gettext("better"))
        if delta > 0.005
        else ("bad", gettext("worse"))
        if delta < -0.005
        else ("neutral", gettext("the same"))
    )
    return {
        "name": name,
        "value": data[key],
        "incumbent": incumbent[key],
        "delta": delta,
        "tone": tone,
        "words": words,
    }


def _verdict(data: dict[str, Any], incumbent: dict[str, Any] | None) -> str:
    right = round(data["accuracy"] * data["golden_set"]["size"])
    sentence = gettext(
        "%(right)s of %(total)s examples are right.", right=right, total=data["golden_set"]["size"]
    )
    if incumbent is None:
        return sentence
    before = round(incumbent["accuracy"] * incumbent["golden_set"]["size"])
    if data["accuracy"] < incumbent["accuracy"] - 0.2:
        now = gettext("What is live now gets %(before)s right: this revision collapses.", before=before)
        return joined([sentence, now])
    return joined([sentence, gettext("What is live now gets %(before)s right.", before=before)])


def _confusion(data: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for label, counts in zip(data["labels"], data["confusion"], strict=True):
        total = sum(counts) or 1
        rows.append(
            {"label": label, "cells": [{"count": n, "share_class": _shade(n / total)} for n in counts]}
        )
    return {"labels": data["labels"], "rows": rows}


def _errors(evidence: Evidence) -> list[dict[str, Any]]:
    numbers = [row["number"] for row in evidence.data["errors"]][:20]
    rows = (
        EvaluationPrediction.objects.filter(evidence=evidence, example__number__in=numbers)
        .select_related("example")
        .order_by("example__number")
    )
    return [
        {
            "inputs": row.example.inputs,
            "reference": row.example.reference,
            "prediction": row.prediction,
            "confidence": row.confidence,
        }
        for row in rows
    ]
