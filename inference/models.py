"""Golden sets and the predictions of evaluation runs."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from registry.models import Evidence, Team, User


class GoldenSet(models.Model):
    """Examples with known answers for one model id. Its content never changes: a new version is a new set."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="golden_sets")
    model_id = models.CharField(max_length=200, help_text="The model it is for, org/name.")
    name = models.CharField(max_length=80)
    sha256 = models.CharField(max_length=64, help_text="Digest of the (inputs, reference) rows in order.")
    labels = models.JSONField(default=list)
    size = models.PositiveIntegerField(help_text="Number of examples.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["team", "model_id", "name"], name="golden_set_named_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.model_id}"


class GoldenExample(models.Model):
    """One example: `inputs` is the text, `reference` the label it must get."""

    golden_set = models.ForeignKey(GoldenSet, on_delete=models.CASCADE, related_name="examples")
    number = models.PositiveIntegerField(help_text="1, 2, 3 ... in the file's order.")
    inputs = models.TextField()
    reference = models.CharField(max_length=200)

    class Meta:
        ordering: ClassVar[list[str]] = ["number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["golden_set", "number"], name="golden_example_numbered_once"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.reference}"


class EvaluationPrediction(models.Model):
    """What a revision said to one example in one evaluation run."""

    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="predictions")
    example = models.ForeignKey(GoldenExample, on_delete=models.PROTECT, related_name="+")
    prediction = models.CharField(max_length=200)
    confidence = models.FloatField(help_text="Probability of the predicted label, 0 to 1.")
    truncated = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["evidence", "example"], name="one_prediction_per_example"),
        ]

    def __str__(self) -> str:
        return self.prediction
