"""Forms of the registry's pages. They carry words and widgets; every rule is in the services."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from registry import history
from registry.enums import Scope
from registry.exceptions import InvalidInput
from registry.models import Approval
from registry.services import passwords
from registry.words import gettext


class ApprovalChoice(forms.ModelChoiceField[Approval]):
    """Approved revisions, newest first, in words."""

    def label_from_instance(self, obj: Any) -> str:
        return gettext(
            "%(sha)s, approved %(day)s for %(environment)s",
            sha=obj.revision.short_sha,
            day=f"{obj.approved_at:%Y-%m-%d}",
            environment=obj.environment,
        )


class TargetForm(forms.Form):
    """A form with a choice among approvals; the view says among which."""

    def choose_among(self, approvals: QuerySet[Approval]) -> None:
        field = self.fields["target"]
        assert isinstance(field, ApprovalChoice)
        field.queryset = approvals


class MoveForm(TargetForm):
    target = ApprovalChoice(
        queryset=Approval.objects.none(), label=_("To"), empty_label=_("Choose an approved revision")
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=forms.Textarea({"rows": 3}),
        help_text=_("Shown in the history for good."),
    )


class RollbackForm(TargetForm):
    target = ApprovalChoice(
        queryset=Approval.objects.none(),
        label=_("Back to"),
        required=False,
        empty_label=_("What was live before"),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=forms.Textarea({"rows": 3}),
        help_text=_("What went wrong, in a few words."),
    )


class MomentForm(forms.Form):
    at = forms.CharField(
        label=_("Date and time (UTC)"), max_length=40, widget=forms.DateTimeInput({"type": "datetime-local"})
    )

    def clean_at(self) -> datetime:
        try:
            return history.parse_moment(self.cleaned_data["at"])
        except InvalidInput as error:
            raise forms.ValidationError(error.message) from error


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=2000, widget=forms.Textarea({"rows": 3}))


SCOPES = [scope for scope in Scope if scope != Scope.SERVE]


def _scope_choices() -> list[tuple[str, str]]:
    """Each scope by its name, which refusals and documents use, and in the reader's words."""
    return [(scope.value, format_html("<code>{}</code> {}", scope.value, scope.label)) for scope in SCOPES]


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=80, label=_("Name"), help_text=_("Where it will be used, for example “nightly batch”.")
    )
    scopes = forms.MultipleChoiceField(
        choices=_scope_choices,
        widget=forms.CheckboxSelectMultiple,
        label=_("It may"),
        error_messages={"required": _("Tick at least one thing that it may do.")},
    )
    days = forms.IntegerField(min_value=1, max_value=366, initial=90, label=_("Expires after (days)"))


class PasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """Django's form for a new password, behind the current one."""

    current = forms.CharField(
        label=_("Current password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    field_order = ("current", "new_password1", "new_password2")

    def clean_current(self) -> str:
        """Raises TooManyAttempts, which is no matter of the form."""
        given: str = self.cleaned_data["current"]
        if not passwords.is_current(user=self.user, given=given):
            raise forms.ValidationError(_("That is not your current password."))
        return given


class AuditFilterForm(forms.Form):
    verb = forms.CharField(required=False, label=_("Verb contains"))
    about = forms.CharField(required=False, max_length=200, label=_("Model or commit"))
    person = forms.CharField(required=False, label=_("Person"))
    since = forms.DateField(required=False, label=_("Since"), widget=forms.DateInput({"type": "date"}))
