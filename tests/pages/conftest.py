"""What several files about pages begin with."""

from tests.pages.test_pages import story

__all__ = ["story"]
