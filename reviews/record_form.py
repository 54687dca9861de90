"""The form of the decision record. It carries words and widgets; reviews/records.py reads and checks them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from registry.enums import ApprovalStatus
from registry.models import Approval
from registry.words import gettext
from reviews.enums import DataClass, Environment
from reviews.models import ReviewRequest


class RecordForm(forms.Form):
    """The decision record, in words; reviews/records.py reads and checks it."""

    allowed_environments = forms.MultipleChoiceField(
        choices=Environment.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label=_("Allowed environments"),
    )
    data_classes = forms.MultipleChoiceField(
        choices=DataClass.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label=_("Allowed data"),
    )
    use_cases = forms.CharField(
        required=False, label=_("Allowed use cases"), widget=forms.Textarea({"rows": 2, "spellcheck": "false"}),
        help_text=_("One a line, `short-name: what it decides`. Programs ask with the short name."),
    )  # fmt: skip
    monitoring = forms.CharField(
        required=False, label=_("Metrics to watch"), widget=forms.Textarea({"rows": 2, "spellcheck": "false"}),
        help_text=_("One a line, for example `accuracy >= 0.9` or `p95_latency_ms <= 50`."),
    )  # fmt: skip
    rollback_approval = forms.ChoiceField(required=False, label=_("Rollback target"))
    rollback_target = forms.CharField(
        required=False, max_length=300, label=_("Or another target"),
        help_text=_("What takes over when it is not a revision in Assay."),
    )  # fmt: skip
    fallback = forms.CharField(
        required=False, label=_("Fallback"), widget=forms.Textarea({"rows": 2}),
        help_text=_("What the product does without a model."),
    )  # fmt: skip
    data_policy = forms.CharField(
        required=False, label=_("Data policy"), widget=forms.Textarea({"rows": 2}),
        help_text=_("What may be sent to it, what is kept, and for how long."),
    )  # fmt: skip
    owner = forms.CharField(required=False, label=_("Owner"), max_length=120)
    expires_at = forms.CharField(
        required=False, label=_("Approval ends on"), widget=forms.DateInput({"type": "date"})
    )
    review_by = forms.CharField(
        required=False, label=_("Looked at again by"), widget=forms.DateInput({"type": "date"})
    )

    def __init__(self, review: ReviewRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = Approval.objects.filter(model=review.model_id, status=ApprovalStatus.ACTIVE)
        others = (
            others.exclude(revision=review.revision_id).select_related("revision").order_by("-approved_at")
        )
        choices = [
            (
                str(a.pk),
                gettext(
                    "%(revision)s, approved for %(environment)s on %(approved_at)s",
                    revision=a.revision.short_sha,
                    environment=a.environment,
                    approved_at=f"{a.approved_at:%Y-%m-%d}",
                ),
            )
            for a in others[:20]
        ]
        target = self.fields["rollback_approval"]
        assert isinstance(target, forms.ChoiceField)
        target.choices = [("", _("None of the approved revisions")), *choices]
