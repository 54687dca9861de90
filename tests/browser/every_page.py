"""The addresses of every page, each in the state with the most on it: what the checks of every page go through."""

from __future__ import annotations

from django.urls import reverse
from django.utils import timezone

from registry.services.channels import move_channel
from reviews.models import Waiver
from reviews.policies.documents import default_policy
from reviews.services.policies import move_policy, save_policy
from tests.factories import make_approval, make_revision
from tests.pages.test_pages import Story, waive_worse_figures
from tests.reviews.code import code_revision


def every_page(story: Story) -> dict[str, str]:
    """{name: address}. v2's pages show what changed since v1, which is approved; production can be rolled back."""
    world = story.world
    waive_worse_figures(story)
    second = make_approval(world, make_revision(world.team, "d" * 40))
    move_channel(
        actor=world.release_manager, model=second.model, name="production", approval=second, reason="second",
    )  # fmt: skip
    coded = code_revision(world, "e" * 40)
    trial = default_policy().source.replace("production-minimum", "on-trial")
    version = save_policy(actor=world.admin, seen=0, source=trial)
    move_policy(actor=world.admin, version_pk=version.pk, state="dry_run")
    assert Waiver.objects.exists()
    return story.addresses | {
        "code audit": reverse("revision_code", args=[coded.pk]),
        "revision with code": reverse("revision_detail", args=[coded.pk]),
        "templates": reverse("template_list"),
        "template new": reverse("template_new"),
        "policies": reverse("policy_list"),
        "policy": reverse("policy_detail", args=["on-trial"]),
        "shipped policy": reverse("policy_detail", args=["production-minimum"]),
        "policy editor": reverse("policy_edit") + "?policy=production-minimum",
        "waivers": reverse("waiver_list"),
        "waive": reverse("waiver_new", args=[coded.pk]),
        "channel then": reverse("channel_detail", args=[story.move.channel_id])
        + f"?at={timezone.now():%Y-%m-%dT%H:%M}",
    }
