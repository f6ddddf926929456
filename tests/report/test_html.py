"""Escaping by default, and file names that every system takes."""

from __future__ import annotations

import html
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from virb.report.html import Cell, Markup, Section, facts, joined, slugs, table, tag

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)))


@given(TEXTS, TEXTS)
def test_any_text_comes_back_as_it_was(content, value):
    seen: list[tuple[str, object]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, name, attributes):
            seen.append((name, dict(attributes)))

        def handle_data(self, data):
            seen.append(("", data))

    reader = Reader(convert_charrefs=True)
    reader.feed(tag("p", content, title=value))
    reader.close()
    assert seen == [("p", {"title": value}), *([("", content)] if content else [])]


def test_only_markup_is_left_as_it_is():
    assert tag("p", "<b>", tag("i", "&"), Markup("<hr>")) == "<p>&lt;b&gt;<i>&amp;</i><hr></p>"
    assert joined(["<", Markup("<br>")], " & ") == "&lt; &amp; <br>"
    assert tag("img", alt='"', src=None) == '<img alt="&quot;">'
    assert facts([("a", "<"), ("none", None), ("empty", ""), ("zero", 0)]) == (
        "<dl><dt>a</dt><dd>&lt;</dd><dt>zero</dt><dd>0</dd></dl>"
    )


def test_a_table_names_its_headers():
    made = table("What", ("x", "y"), [Section([("a<", Cell("1.0", 1.0, "best"))], "group")])
    assert '<caption>What</caption><thead><tr><th scope="col">x</th>' in made
    assert '<th scope="rowgroup" colspan="2">group</th>' in made
    assert '<th scope="row">a&lt;</th><td class="best number" data-value="1">1.0</td>' in made


@given(st.lists(TEXTS, unique=True, max_size=12))
def test_slugs_are_safe_and_differ_in_any_case(names):
    made = slugs(names)
    assert list(made) == names
    assert len({slug.lower() for slug in made.values()}) == len(names)
    for slug in made.values():
        assert slug == html.escape(slug)
        assert 0 < len(slug) <= 90
        assert not set(slug) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert slug[0] not in "-."


def test_slugs_by_hand():
    names = ["a/b", "A b", "con", "..", "a-b-2", "timm:resnet50.a1_in1k"]
    assert list(slugs(names).values()) == ["a-b", "A-b-2", "name-con", "unnamed", "a-b-2-2", "timm-resnet50.a1_in1k"]
