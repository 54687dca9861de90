from django.urls import path

import registry.converters  # noqa: F401 - registers <sha:>
from reviews.api import code_audits, policies, proof, threads, views

_CODE = "models/<str:org>/<str:name>/revisions/<sha:commit_sha>/code"

urlpatterns = [
    path("approvals/<int:pk>/attestation", proof.AttestationView.as_view()),
    path("approvals/<int:pk>/model-signature", proof.ModelSignatureView.as_view()),
    path(
        "models/<str:org>/<str:name>/revisions/<sha:commit_sha>/exports/<slug:kind>",
        proof.ExportView.as_view(),
    ),
    path("exports/approvals.csv", proof.ApprovalsTableView.as_view()),
    path("exports/audit.csv", proof.EventsTableView.as_view()),
    path("policies", policies.PolicyListView.as_view()),
    path("policies/simulate", policies.PolicySimulateView.as_view()),
    path("policies/versions/<int:pk>", policies.PolicyVersionView.as_view()),
    path("waivers", policies.WaiverListView.as_view()),
    path("waivers/<int:pk>", policies.WaiverView.as_view()),
    path("lookup", views.LookupView.as_view()),
    path("reviews", views.ReviewListView.as_view()),
    path("reviews/<int:pk>", views.ReviewView.as_view()),
    path("reviews/<int:pk>/answers", views.ReviewAnswersView.as_view()),
    path("reviews/<int:pk>/suggestions", views.ReviewSuggestionsView.as_view()),
    path("reviews/<int:pk>/comments", threads.ReviewCommentsView.as_view()),
    path("checklist-templates", threads.TemplatesView.as_view()),
    path("checklist-templates/<int:pk>", threads.TemplateView.as_view()),
    path("reviews/<int:pk>/decision", views.ReviewDecisionView.as_view()),
    path("reviews/<int:pk>/record", views.ReviewRecordView.as_view()),
    path("reviews/<int:pk>/changes", views.ReviewChangesView.as_view()),
    path("reviews/<int:pk>/withdraw", views.ReviewWithdrawView.as_view()),
    path("reviews/<int:pk>/resubmit", views.ReviewResubmitView.as_view()),
    path(_CODE, code_audits.CodeAuditView.as_view()),
    path(f"{_CODE}/verdicts", code_audits.CodeVerdictsView.as_view()),
    path(f"{_CODE}/waiver", code_audits.CodeWaiverView.as_view()),
    path(f"{_CODE}/files/<slug:sha256>", code_audits.CodeSourceView.as_view()),
]
