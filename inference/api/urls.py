from django.urls import path

from inference.api import views

_REVISION = "models/<str:org>/<str:name>/revisions/<sha:commit_sha>"

urlpatterns = [
    path("golden-sets", views.GoldenSetListView.as_view()),
    path(f"{_REVISION}/benchmarks", views.BenchmarkView.as_view()),
    path(f"{_REVISION}/evaluations", views.EvaluationView.as_view()),
]
