from typing import Any

from django.urls import path

from inference.views import golden_sets

urlpatterns: list[Any] = [
    path("golden-sets/", golden_sets.goldenset_list, name="goldenset_list"),
    path("golden-sets/new/", golden_sets.goldenset_new, name="goldenset_new"),
]
