"""What several files about pages begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.factories import World
    from tests.pages.test_pages import Story


@pytest.fixture
def story(world: World) -> Story:
    # Not at the top: the factories need the settings of the tests, which are made after this file is read.
    from tests.pages.test_pages import make_story

    return make_story(world)
