from django.urls import path

from reviews.api import threads, views

urlpatterns = [
    path("lookup", views.LookupView.as_view()),
    path("reviews", views.ReviewListView.as_view()),
    path("reviews/<int:pk>", views.ReviewView.as_view()),
    path("reviews/<int:pk>/answers", views.ReviewAnswersView.as_view()),
    path("reviews/<int:pk>/suggestions", views.ReviewSuggestionsView.as_view()),
    path("reviews/<int:pk>/comments", threads.ReviewCommentsView.as_view()),
    path("checklist-templates", threads.TemplatesView.as_view()),
    path("checklist-templates/<int:pk>", threads.TemplateView.as_view()),
    path("reviews/<int:pk>/decision", views.ReviewDecisionView.as_view()),
    path("reviews/<int:pk>/changes", views.ReviewChangesView.as_view()),
    path("reviews/<int:pk>/withdraw", views.ReviewWithdrawView.as_view()),
    path("reviews/<int:pk>/resubmit", views.ReviewResubmitView.as_view()),
]
