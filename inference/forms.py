"""The golden-set form. The rules are in `inference/services/golden_sets.py`."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class GoldenSetForm(forms.Form):
    model_id = forms.CharField(
        max_length=400, label=_("Model id"), help_text=_("org/name of the model that it measures.")
    )
    name = forms.CharField(
        max_length=80,
        label=_("Name"),
        help_text=_("For example “reviews 2026-11”. A set never changes: a new one gets a new name."),
    )
    file = forms.FileField(
        label=_("CSV file"),
        allow_empty_file=True,
        help_text=_("UTF-8, columns text and label, at most 5 MB."),
    )
