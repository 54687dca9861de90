from django.urls import path

import registry.converters  # noqa: F401 - registers <sha:> and <action:>
from registry.api import proof, views

_MODEL = "models/<str:org>/<str:name>"

urlpatterns = [
    path("me", views.MeView.as_view()),
    path("keys", views.KeysView.as_view()),
    path("lock", views.LockView.as_view()),
    path("models", views.ModelListView.as_view()),
    path(_MODEL, views.ModelView.as_view()),
    path(f"{_MODEL}/approved", views.ApprovedView.as_view()),
    path(f"{_MODEL}/revisions", views.RevisionListView.as_view()),
    path(f"{_MODEL}/revisions/<sha:commit_sha>", views.RevisionView.as_view()),
    path(f"{_MODEL}/revisions/<sha:commit_sha>/consumers", views.ConsumersView.as_view()),
    path(f"{_MODEL}/channels", views.ChannelListView.as_view()),
    path(f"{_MODEL}/channels/<slug:channel>", views.ChannelView.as_view()),
    path(f"{_MODEL}/channels/<slug:channel>/moves", views.ChannelMovesView.as_view()),
    path(f"{_MODEL}/channels/<slug:channel>/rollback", views.ChannelRollbackView.as_view()),
    path("approvals/<int:pk>/<action:action>", views.ApprovalActionView.as_view()),
    path("jobs", views.JobListView.as_view()),
    path("jobs/<int:pk>", views.JobView.as_view()),
    path("jobs/<int:pk>/cancel", views.JobCancelView.as_view()),
    path("audit", views.AuditView.as_view()),
    path("audit/verify", proof.AuditVerifyView.as_view()),
    path("tokens", views.TokenListView.as_view()),
    path("tokens/<int:pk>", views.TokenView.as_view()),
    path("tokens/introspect", views.IntrospectView.as_view()),
    path("serving/manifest", views.ServingManifestView.as_view()),
    path("serving/report", views.ServingReportView.as_view()),
]
