"""A model card as HTML that cannot act: markdown without raw HTML, then an allow-list of tags, no images, no ids, no styles."""

from __future__ import annotations

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from registry.inspection.card import split_card

TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def card_html(card_text: str) -> SafeString:
    """The body of a card (without its YAML header). Headings start two levels lower, to keep the page's outline."""
    _, skipped = split_card(card_text)
    body = "\n".join(card_text.splitlines()[skipped:])
    if not body.strip():
        return SafeString("")
    html = nh3.clean(
        _MARKDOWN.render(body),
        tags=TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )
    for level in (4, 3, 2, 1):
        html = html.replace(f"<h{level}>", f"<h{level + 2}>").replace(f"</h{level}>", f"</h{level + 2}>")
    return mark_safe(html)  # cleaned above, by allow-list


def card_lines(card_text: str) -> list[dict[str, object]]:
    """The source of a card, numbered from 1, for citing."""
    return [{"number": number, "text": line} for number, line in enumerate(card_text.splitlines(), start=1)]
