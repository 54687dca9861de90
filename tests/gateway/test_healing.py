"""A damaged file is fetched again from a real (sample) Hub over HTTP, by commit and digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry import store
from registry.exceptions import IntegrityFailure
from registry.models import AuditEvent, Blob
from registry.services import integrity
from registry.tasks import heal_blob, scrub_store
from tests.factories import MODEL_ID, World, make_revision
from tests.gateway.scene import spoil
from tests.sample_hub.running import running_hub
from tests.sample_hub.store import SampleHubStore

FILES = {"config.json": b'{"model_type": "distilbert"}', "model.safetensors": bytes(range(256)) * 100}


@pytest.mark.service
@pytest.mark.parametrize("path", sorted(FILES))
def test_damaged_file_comes_back_from_the_hub_although_main_has_moved(
    world: World, settings: Any, tmp_path: Path, path: str
) -> None:
    upstream = SampleHubStore(tmp_path / "hub")
    upstream.create_repo(MODEL_ID)
    sha = upstream.commit(MODEL_ID, FILES, "v1")
    upstream.commit(MODEL_ID, {path: b"something else"}, "v2")
    revision = make_revision(world.team, sha, files=FILES)
    blob = spoil(revision, path, lambda place: place.write_bytes(b"damaged"))
    with running_hub(tmp_path / "hub") as url:
        settings.HUB_ENDPOINT = url
        assert scrub_store()["damaged"] == 1
        with pytest.raises(IntegrityFailure):
            store.verified(blob, len(FILES[path]))
        assert heal_blob(blob) == "healed"
    with store.verified(blob, len(FILES[path])) as file:
        assert file.read() == FILES[path]
    assert not Blob.objects.filter(damaged_at__isnull=False).exists()
    verbs = list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True))
    assert verbs == ["integrity.failed", "integrity.restored"]
    assert integrity.scrub(60)["damaged"] == 0
