"""The golden-set form. The rules are in `inference/services/golden_sets.py`."""

from __future__ import annotations

from django import forms


class GoldenSetForm(forms.Form):
    model_id = forms.CharField(
        max_length=400, label="Model id", help_text="org/name of the model that it measures."
    )
    name = forms.CharField(
        max_length=80,
        help_text="For example “reviews 2026-11”. A set never changes: a new one gets a new name.",
    )
    file = forms.FileField(
        label="CSV file", allow_empty_file=True, help_text="UTF-8, columns text and label, at most 5 MB."
    )
