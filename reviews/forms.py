"""Forms of the review pages. They carry words and widgets; every rule is in the services."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from registry.canonical import sha256_json
from reviews.enums import DataClass, Environment, FileMark, Verdict
from reviews.policies.gate import in_words


class SubmitForm(forms.Form):
    model_id = forms.CharField(
        max_length=400,
        label=_("Model id or Hub address"),
        help_text=_("For example acme/sentiment-vi-en, or paste the address of its page."),
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "autofocus": True}),
    )
    revision = forms.CharField(
        max_length=200,
        required=False,
        initial="main",
        label=_("Revision"),
        help_text=_("A branch, a tag, or a 40-digit commit SHA."),
    )
    use_case = forms.CharField(
        max_length=4000, label=_("Use case"), widget=forms.Textarea({"rows": 4}),
        help_text=_("What will it decide, for whom? Reviewers decide on this sentence."),
    )  # fmt: skip
    environment = forms.ChoiceField(
        choices=Environment.choices,
        widget=forms.RadioSelect,
        label=_("Environment"),
        initial=Environment.PRODUCTION,
    )
    data_class = forms.ChoiceField(
        choices=DataClass.choices,
        widget=forms.RadioSelect,
        label=_("Data it will see"),
        initial=DataClass.INTERNAL,
    )
    owner = forms.CharField(
        max_length=120,
        required=False,
        label=_("Owner"),
        help_text=_("Who answers for it in use. Empty: you."),
    )


class AnswerForm(forms.Form):
    """One item's answer, with a field for its type. `version` is the answer that was seen; `seen` a digest of what was
    filled in when the page was made, so that a whole-page save leaves untouched items alone."""

    verdict = forms.ChoiceField(
        choices=Verdict.choices, widget=forms.RadioSelect, label=_("Your answer"), required=False
    )
    text = forms.CharField(
        max_length=4000,
        required=False,
        label=_("In your words"),
        widget=forms.Textarea({"rows": 2, "data-answer": ""}),
    )
    version = forms.CharField(required=False, widget=forms.HiddenInput)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, item: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = _value_field(item)
        if field is not None:
            self.fields["value"] = field
        self.order_fields(["value", "text", "verdict"])

    def digest(self) -> str:
        """Of what was typed; equal to `seen` when nothing was."""
        read = self.cleaned_data
        return fields_digest(read.get("verdict", ""), read.get("value", ""), read.get("text", ""))

    def with_version(self, version: int) -> None:
        """The refused form again, now knowing the answer that it collided with."""
        data = self.data.copy()  # type: ignore[attr-defined]
        data[self.add_prefix("version")] = str(version)
        self.data = data


def fields_digest(verdict: str, value: object, text: str) -> str:
    shown = "" if value is None else str(value)
    return sha256_json([verdict, shown, text.replace("\r\n", "\n").strip()])[:16]


def _value_field(item: dict[str, Any]) -> forms.Field | None:
    """The services check the value; the widget only helps to type it."""
    kind = item["type"]
    if kind in ("choice", "yesno"):
        return forms.ChoiceField(
            choices=list(item["options"].items()),
            widget=forms.RadioSelect,
            label=item["title"],
            required=False,
        )
    if kind == "number":
        widget: forms.Widget = forms.NumberInput({"step": "any", "min": item["min"], "max": item["max"]})
        return forms.CharField(widget=widget, label=f"{item['title']} ({item['unit']})", required=False)
    if kind == "link":
        widget = forms.TextInput({"placeholder": "run 12, https://…", "spellcheck": "false"})
        return forms.CharField(widget=widget, max_length=500, label=item["title"], required=False)
    return None


class TemplateForm(forms.Form):
    source = forms.CharField(
        label=_("Template (YAML)"), max_length=60_000, strip=False,
        widget=forms.Textarea({"rows": 24, "spellcheck": "false", "class": "mono"}),
    )  # fmt: skip
    note = forms.CharField(label=_("Why"), max_length=500, required=False)


class DecisionForm(forms.Form):
    conditions = forms.CharField(
        max_length=4000, required=False, label=_("Conditions of use"), widget=forms.Textarea({"rows": 2}),
        help_text=_("Needed when an item left a concern."),
    )  # fmt: skip
    reason = forms.CharField(
        max_length=2000, required=False, label=_("Reason"), widget=forms.Textarea({"rows": 2}),
        help_text=_("Needed to reject or to ask for changes."),
    )  # fmt: skip
    content_sha256 = forms.CharField(required=False, widget=forms.HiddenInput)


class WaiverForm(forms.Form):
    rule = forms.ChoiceField(label=_("Violation"))
    reason = forms.CharField(
        max_length=2000, label=_("Justification"), widget=forms.Textarea({"rows": 3}),
        help_text=_("Why the risk is acceptable for this time. Shown on the revision and kept for good."),
    )  # fmt: skip
    owner = forms.CharField(
        max_length=150, label=_("Owner"), help_text=_("User name of who answers for the risk.")
    )
    days = forms.IntegerField(
        min_value=1, max_value=366, initial=30, label=_("For how many days"),
        help_text=_("Then the violation is back by itself."),
    )  # fmt: skip

    def choose_among(self, outcomes: list[Any]) -> None:
        field = self.fields["rule"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (outcome.key, f"{in_words(outcome.rule.title)} ({outcome.policy})") for outcome in outcomes
        ]


class PolicyForm(forms.Form):
    source = forms.CharField(
        max_length=40_000, label=_("Rules (YAML)"), strip=False,
        widget=forms.Textarea({"rows": 20, "class": "mono", "spellcheck": "false", "autocomplete": "off", "wrap": "off",
                               "data-facts": "", "aria-describedby": "fact-help"}),
    )  # fmt: skip
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)


class FileVerdictForm(forms.Form):
    path = forms.CharField(max_length=500, strip=False, widget=forms.HiddenInput)
    sha256 = forms.CharField(max_length=64, widget=forms.HiddenInput)
    seen = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    verdict = forms.ChoiceField(choices=FileMark.choices, widget=forms.HiddenInput)
    reason = forms.CharField(
        max_length=2000, required=False, label=_("Reason"), widget=forms.Textarea({"rows": 2, "data-reason": ""}),
        help_text=_("Needed when it failed; a word on what you looked at helps the next auditor."),
    )  # fmt: skip


class CodeWaiverForm(forms.Form):
    reason = forms.CharField(
        max_length=2000, widget=forms.Textarea({"rows": 2}), label=_("Why it cannot wait")
    )
    owner = forms.CharField(
        max_length=150,
        label=_("Who answers for it"),
        help_text=_("A username of your team, not the submitter."),
    )
    until = forms.DateField(
        label=_("Until"),
        widget=forms.DateInput({"type": "date"}),
        help_text=_("At most 90 days; then the code waits again."),
    )
