"""Escaping by default, and file names that every system takes."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from virb.report import pages
from virb.report.view import Bar, Cell, Fact, Section, Table, facts, slugs

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)))


def made(source: str, **given: object) -> str:
    """A template's text, with the macros that the pages share."""
    return pages._environment().from_string('{% import "parts.html" as parts %}' + source).render(**given)


@given(TEXTS, TEXTS)
def test_any_text_comes_back_as_it_was(content, title):
    seen: list[object] = []

    class Reader(HTMLParser):
        def handle_starttag(self, name, attributes):
            seen.append(dict(attributes))

        def handle_data(self, data):
            seen.append(data)

    reader = Reader(convert_charrefs=True)
    reader.feed(made("{{ parts.tds([cell]) }}", cell=Cell(content, title=title)))
    reader.close()
    assert seen[0] == {"class": "", **({"title": title} if title else {})}
    assert "".join(map(str, seen[1:])) == content


def test_what_a_template_is_not_given_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError):
        made("{{ absent }}")


def test_facts_leave_out_what_is_not_said():
    assert facts([("a", "<"), ("none", None), ("empty", ""), ("zero", 0)]) == [Fact("a", "<"), Fact("zero", "0")]
    assert "<dd>&lt;</dd>" in made("{{ parts.facts(given) }}", given=[Fact("a", "<")])


def test_a_table_names_its_headers():
    cell = Cell("1.0", 1.0, is_best=True, shade=8, spread="± 0.1", mark="†", mark_means="limit=1")
    text = made(
        "{{ parts.table(given) }}",
        given=Table("What", [Cell("x"), Cell("y")], [Section([[Cell("a<"), cell]], "group")]),
    )
    assert "<caption>What</caption>" in text
    assert '<th scope="col"><span>x</span></th>' in text
    assert '<th scope="rowgroup" colspan="2">group</th>' in text
    assert '<th scope="row">a&lt;</th><td class="n best s8" data-v="1">' in text
    assert '<abbr title="limit=1">†</abbr> 1.0 <small>± 0.1</small></td>' in text


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-10, 10), st.floats(-5, 5), st.floats(-5, 5))
def test_a_bar_stays_inside_its_cell(low, high, at, first, last):
    bar = Bar.on(low, high, at, scale=(first, last), ticks=[at])
    assert (bar is None) == (last <= first)
    if bar is not None:
        assert all(0 <= place <= 100 for place in (bar.low, bar.high, bar.at, *bar.ticks))


def test_a_bar_by_hand():
    assert Bar.on(2, 4, 3, scale=(1, 5), ticks=[0, 9]) == Bar(25.0, 75.0, 50.0, (0.0, 100.0))


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
