"""Evaluation = quality. The worker's side: golden set in, predictions out, metrics by pure functions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inference import metrics
from inference.child import run_child
from inference.models import EvaluationPrediction, GoldenSet
from inference.publishing import publish_evidence
from registry.consumption import max_length_of
from registry.enums import EvidenceKind
from registry.exceptions import InvalidInput
from registry.jobs import Running
from registry.models import Evidence, Revision

SHOWN_ERRORS = 50


def check_labels(revision: Revision, golden_set: GoldenSet) -> None:
    """Raises InvalidInput when the set expects a label that the model cannot say."""
    known = set(revision.label_mapping.values())
    unknown = sorted(set(golden_set.labels) - known)
    if known and unknown:
        raise InvalidInput(
            f"The golden set {golden_set.name} expects {', '.join(repr(u) for u in unknown[:5])}, which {revision} cannot "
            f"answer: its labels are {', '.join(sorted(known))}. Correct the set, or the model's label mapping.",
            code="unknown_label",
            unknown=unknown,
        )


def run(running: Running) -> None:
    """The handler of evaluation jobs. params: {"revision": pk, "golden_set": pk}."""
    revision = Revision.objects.select_related("model__team").get(pk=running.job.params["revision"])
    golden_set = GoldenSet.objects.get(pk=running.job.params["golden_set"], team=revision.model.team)
    check_labels(revision, golden_set)
    examples = list(golden_set.examples.all())
    answer = run_child(
        running,
        revision,
        "evaluation",
        {
            "examples": [{"id": e.pk, "inputs": e.inputs, "reference": e.reference} for e in examples],
            "batch_size": 16,
            "max_length": max_length_of(revision),
        },
    )
    predictions = {row["id"]: row for row in answer["predictions"]}
    if set(predictions) != {e.pk for e in examples}:
        raise InvalidInput("The model process did not answer every example.", code="incomplete_predictions")
    labels = list(answer["labels"])
    references = [e.reference for e in examples]
    predicted = [predictions[e.pk]["prediction"] for e in examples]
    data: dict[str, Any] = {
        "schema": 1,
        "golden_set": {
            "id": golden_set.pk,
            "name": golden_set.name,
            "sha256": golden_set.sha256,
            "size": len(examples),
        },
        "labels": labels,
        "accuracy": round(metrics.accuracy(references, predicted), 6),
        "macro_f1": round(metrics.macro_f1(references, predicted, labels), 6),
        "per_class": [asdict(scores) for scores in metrics.per_class(references, predicted, labels)],
        "confusion": metrics.confusion_matrix(references, predicted, labels),
        "errors": [
            {"number": e.number, "reference": e.reference, **_short(predictions[e.pk])}
            for e in examples
            if predictions[e.pk]["prediction"] != e.reference
        ][:SHOWN_ERRORS],
        "hardware": answer["hardware"],
        "versions": answer["versions"],
        "duration_s": answer["duration_s"],
    }

    def keep_predictions(evidence: Evidence) -> None:
        EvaluationPrediction.objects.bulk_create(
            EvaluationPrediction(
                evidence=evidence,
                example=e,
                prediction=predictions[e.pk]["prediction"],
                confidence=predictions[e.pk]["confidence"],
                truncated=predictions[e.pk]["truncated"],
            )
            for e in examples
        )

    publish_evidence(running, revision, EvidenceKind.EVALUATION, data, summary(data), keep_predictions)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {"prediction": row["prediction"], "confidence": row["confidence"]}


def summary(data: dict[str, Any]) -> str:
    return (
        f"accuracy {data['accuracy']:.3f}, macro F1 {data['macro_f1']:.3f} on {data['golden_set']['name']} "
        f"({data['golden_set']['size']} examples)"
    )[:300]
