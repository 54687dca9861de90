"""The Django admin: people, teams and roles. No governed state is registered here, so none can be changed here.

Every change of an account, a team or a role goes into the audit log in the same transaction (Django's admin views are
atomic), because a role decides who may approve.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from registry import audit
from registry.actors import Actor
from registry.models import Membership, Team, User

admin.site.unregister(Group)  # Assay's roles live in teams; Django's groups would be a second, unread truth
admin.site.site_header = "Assay administration"
admin.site.site_title = "Assay"


def _own_password(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """The administration's page for one's own password would let a session guess the current one without end."""
    return redirect("password")


admin.site.password_change = _own_password  # type: ignore[method-assign, assignment]


def _actor(request: HttpRequest, team: Team | None = None) -> Actor:
    assert isinstance(request.user, User)
    return Actor(user=request.user, team=team, auth_method="admin")


@admin.register(User)
class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "is_active", "is_staff", "is_service_account")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "is_service_account")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    list_filter = ("is_active", "is_staff", "is_service_account")
    filter_horizontal = ()

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(
            actor=_actor(request),
            verb="user.changed",
            subject=obj,
            user=obj.pk,
            fields=sorted(form.changed_data),
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Another person's password: the same act as any other change, recorded in the same transaction."""
        request.sets_password = True  # type: ignore[attr-defined]  # `log_change` is Django's only call in the middle
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        entry = super().log_change(request, obj, message)
        if getattr(request, "sets_password", False):
            audit.record(
                actor=_actor(request), verb="user.changed", subject=obj, user=obj.pk, fields=["password"]
            )
        return entry

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # people are part of the record: deactivate them instead


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "created_at")
    prepopulated_fields = {"slug": ("name",)}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            audit.record(actor=_actor(request), team=obj, verb="team.created", subject=obj, name=obj.name)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "role", "team")
    list_filter = ("team", "role")
    autocomplete_fields = ("user",)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._record(request, obj, "membership.granted")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record(request, obj, "membership.removed")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            self.delete_model(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # a role is granted or removed; changing one in place would hide what was before

    def _record(self, request: HttpRequest, obj: Membership, verb: str) -> None:
        audit.record(
            actor=_actor(request, obj.team),
            verb=verb,
            subject=obj,
            user=obj.user.pk,
            role=str(obj.role),
        )
