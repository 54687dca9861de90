from typing import Any

from django.urls import path

from registry.views import account, channels, runs

urlpatterns: list[Any] = [
    path("runs/", runs.run_list, name="run_list"),
    path("runs/<int:pk>/", runs.run_detail, name="run_detail"),
    path("runs/<int:pk>/cancel/", runs.run_cancel, name="run_cancel"),
    path("channels/", channels.channel_list, name="channel_list"),
    path("channels/<int:pk>/", channels.channel_detail, name="channel_detail"),
    path("channels/<int:pk>/move/", channels.channel_move, name="channel_move"),
    path("channels/<int:pk>/rollback/", channels.channel_roll_back, name="channel_roll_back"),
    path("audit/", account.audit_list, name="audit_list"),
    path("tokens/", account.token_list, name="token_list"),
    path("tokens/<int:pk>/revoke/", account.token_revoke, name="token_revoke"),
    path("password/", account.password, name="password"),
    path("teams/switch/", account.team_switch, name="team_switch"),
    path("login/", account.LoginView.as_view(), name="login"),
    path("logout/", account.LogoutView.as_view(), name="logout"),
]
