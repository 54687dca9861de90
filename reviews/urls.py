from typing import Any

from django.urls import path

import registry.converters  # noqa: F401 - registers <sha:> and <action:>
from reviews.views import code_audits, decisions, home, models, policies, proof, reviews, tiers, waivers

urlpatterns: list[Any] = [
    path("", home.home, name="home"),
    path("search/", home.search, name="search"),
    path("models/", models.model_list, name="model_list"),
    path("models/<int:pk>/", models.model_detail, name="model_detail"),
    path("models/<int:pk>/lock/", models.model_lock, name="model_lock"),
    path("revisions/<int:pk>/", models.revision_detail, name="revision_detail"),
    path("revisions/<int:pk>/benchmark/", models.revision_benchmark, name="revision_benchmark"),
    path("revisions/<int:pk>/evaluate/<int:set_pk>/", models.revision_evaluate, name="revision_evaluate"),
    path("revisions/<int:pk>/code/", code_audits.revision_code, name="revision_code"),
    path("revisions/<int:pk>/code/verdict/", code_audits.revision_code_verdict, name="revision_code_verdict"),
    path("revisions/<int:pk>/code/waiver/", code_audits.revision_code_waiver, name="revision_code_waiver"),
    path(
        "revisions/<int:pk>/code/waiver/end/",
        code_audits.revision_code_waiver_end,
        name="revision_code_waiver_end",
    ),
    path("revisions/<int:pk>/exports/<slug:kind>/", proof.revision_export, name="revision_export"),
    path("exports/approvals.csv", proof.approvals_table, name="approvals_table"),
    path("exports/audit.csv", proof.events_table, name="events_table"),
    path("approvals/<int:pk>/attestation/", proof.approval_attestation, name="approval_attestation"),
    path(
        "approvals/<int:pk>/model-signature/", proof.approval_model_signature, name="approval_model_signature"
    ),
    path("approvals/<int:pk>/<action:action>/", models.approval_change, name="approval_change"),
    path("policies/", policies.policy_list, name="policy_list"),
    path("policies/edit/", policies.policy_edit, name="policy_edit"),
    path("policies/simulate/", policies.policy_simulate, name="policy_simulate"),
    path("policies/versions/<int:pk>/", policies.policy_move, name="policy_move"),
    path("policies/<slug:key>/", policies.policy_detail, name="policy_detail"),
    path("waivers/", waivers.waiver_list, name="waiver_list"),
    path("waivers/<int:pk>/end/", waivers.waiver_end, name="waiver_end"),
    path("revisions/<int:pk>/waive/", waivers.waiver_new, name="waiver_new"),
    path("reviews/", reviews.review_list, name="review_list"),
    path("reviews/new/", reviews.review_new, name="review_new"),
    path("reviews/lookup/", reviews.review_lookup, name="review_lookup"),
    path("reviews/tier/", tiers.review_tier, name="review_tier"),
    path("reviews/<int:pk>/", reviews.review_detail, name="review_detail"),
    path("reviews/<int:pk>/answers/<slug:key>/", reviews.review_answer, name="review_answer"),
    path("reviews/<int:pk>/decide/", reviews.review_decide, name="review_decide"),
    path("reviews/<int:pk>/record/", decisions.review_record, name="review_record"),
    path("reviews/<int:pk>/changes/", reviews.review_changes, name="review_changes"),
    path("reviews/<int:pk>/withdraw/", reviews.review_withdraw, name="review_withdraw"),
    path("reviews/<int:pk>/resubmit/", reviews.review_resubmit, name="review_resubmit"),
]
