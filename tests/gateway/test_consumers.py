"""Who has what: counted without waiting, shown where somebody decides to take it away."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from registry.gateway import consumers
from registry.models import ApiToken, Download
from tests.factories import MODEL_ID, SHA_A, Api
from tests.gateway.scene import FILES, Scene

FILE = f"/hub/{MODEL_ID}/resolve/main/model.safetensors"
SIZE = len(FILES["model.safetensors"])


def test_downloads_of_a_token_are_one_row_a_revision(hub: Api, scene: Scene) -> None:
    hub.send("HEAD", FILE)
    hub.get(FILE)
    assert consumers.flush() == 1
    row = Download.objects.get()
    assert (row.bytes, row.files, row.revision_id, row.team.slug) == (SIZE, 1, scene.approved.pk, "acme")
    assert row.user == scene.world.viewer.user and row.token == hub.token.split("_")[1]
    hub.get(FILE)
    hub.get(f"/hub/{MODEL_ID}/resolve/main/config.json")
    consumers.flush()
    again = Download.objects.get()
    assert again.files == 3 and again.bytes == 2 * SIZE + len(FILES["config.json"])
    assert again.first_seen == row.first_seen and again.last_seen > row.last_seen
    assert consumers.flush() == 0


def test_another_token_is_another_row(hub: Api, scene: Scene) -> None:
    hub.get(FILE)
    Api.of(scene.world.admin).get(FILE)
    assert consumers.flush() == 2


def test_refused_download_is_nobodys(scene: Scene) -> None:
    Api.of(scene.world.other).get(FILE)
    Api("").get(FILE)
    assert consumers.flush() == 0


def test_download_that_is_cut_counts_what_was_taken(hub: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.gateway.files.CHUNK", 1000)
    answer: Any = hub.client.get(FILE, headers={"Authorization": f"Bearer {hub.token}"})
    next(iter(answer.streaming_content))
    for closer in answer._resource_closers:
        closer()
    consumers.flush()
    assert Download.objects.get().bytes == 1000


def test_download_does_not_wait_for_a_database_that_is_away(
    hub: Api, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(consumers, "_write", away)
        assert hub.get(FILE).content == FILES["model.safetensors"]
        with pytest.raises(OperationalError):
            consumers.flush()
        hub.get(FILE)
    assert consumers.flush() == 1 and Download.objects.get().files == 2


def test_service_accounts_downloads_belong_to_the_team_it_serves(scene: Scene) -> None:
    Api.of(scene.world.server, ["serve"]).get(f"/hub/{MODEL_ID}/resolve/{SHA_A}/config.json?team=acme")
    consumers.flush()
    assert Download.objects.get().team == scene.world.team


def test_api_lists_consumers_to_the_team_only(hub: Api, scene: Scene) -> None:
    hub.get(FILE)
    consumers.flush()
    path = f"/models/{MODEL_ID}/revisions/{SHA_A}/consumers"
    (row,) = Api.of(scene.world.admin).get(path).data["results"]
    assert row["user"] == "viewer" and row["token_name"] == "test" and row["bytes"] == SIZE
    assert hub.token not in str(row)
    assert Api.of(scene.world.other).get(path).status == 404


def test_suspending_by_the_api_lists_who_is_affected(hub: Api, scene: Scene) -> None:
    hub.get(FILE)
    consumers.flush()
    admin = Api.of(scene.world.admin)
    deprecated = admin.post(f"/approvals/{scene.approval.pk}/deprecate", {"reason": "v2 is better"})
    assert deprecated.status == 200 and deprecated.data["affected"] == []  # nobody loses anything yet
    suspended = admin.post(f"/approvals/{scene.approval.pk}/suspend", {"reason": "Leaked data"})
    assert [row["user"] for row in suspended.data["affected"]] == ["viewer"]


def test_page_shows_consumers_and_the_message_of_suspending_names_them(hub: Api, scene: Scene) -> None:
    client = Client()
    client.force_login(scene.world.admin.user)
    page = reverse("revision_detail", args=[scene.approved.pk])
    assert "Nobody has fetched it through the Hub endpoint yet." in client.get(page).content.decode()
    hub.get(FILE)
    consumers.flush()
    text = client.get(page).content.decode()
    assert "Who has downloaded it" in text and "with the token test" in text
    done = client.post(
        reverse("approval_change", args=[scene.approval.pk, "suspend"]),
        {"reason": "Leaked data"},
        follow=True,
    )
    assert "Affected, because they have downloaded it: viewer (test)." in done.content.decode()


def test_row_outlives_its_token(hub: Api, scene: Scene) -> None:
    hub.get(FILE)
    consumers.flush()
    ApiToken.objects.all().delete()
    (found,) = consumers.consumers_of(scene.approved)
    assert found.user == "viewer" and found.token_name == ""
