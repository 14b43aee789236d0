"""What pages cost to parse."""

import math

import pytest
from growth import exponent
from hypothesis import given
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from puna.data.text.html_cost import html_cost

PAGE = "<html><body>" + "<div><p class=x>A <b>few</b> words.<br><img src='a>b'></div>" * 200 + "</body></html>"


def test_an_ordinary_page_costs_little():
    nodes, steps = html_cost(PAGE.encode())
    assert 800 < nodes < 4000
    assert steps < 4000


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 5000,
        "<div>" * 5000 + "</div>" * 5000,
        "<a><div>" * 5000,
        "<section><p>" * 3000,
        "<DIV\n>" * 4000,
    ],
)
def test_deeply_nested_elements_are_counted_by_their_depth(html: str):
    assert html_cost(html.encode())[1] > 4_000_000


@pytest.mark.parametrize(
    "html",
    [
        "".join(f"<b id={number}><p>" for number in range(2000)),
        "".join(f"<font color={number}>" for number in range(2000)) + "<p>x</p>" * 2000,
        "".join(f"<div><i class=c{number}>x</div>" for number in range(2000)),
    ],
)
def test_formatting_that_is_never_closed_is_made_again_in_each_block(html: str):
    assert html_cost(html.encode())[0] > 1_000_000


@pytest.mark.parametrize(
    "html",
    [
        "<p>x" * 5000,
        "<li>x" * 5000,
        "<tr><td>x" * 5000,
        "<br>" * 5000,
        "<b>x</b>" * 5000,
        "<div><b>x</div>" * 5000,  # three that are equal are kept
        "<script>" + "<div>" * 5000 + "</script>",
        "<!--" + "<div>" * 5000 + "-->",
        "x < y " * 5000,
        '<p title="' + "<div>" * 5000 + '">',
    ],
)
def test_what_only_looks_deep_costs_little(html: str):
    nodes, steps = html_cost(html.encode())
    assert steps < 100_000
    assert nodes < 50_000


def test_the_estimate_of_steps_follows_the_time_of_the_parser():
    small, large = (html_cost(b"<div>" * count)[1] for count in (2000, 8000))
    estimated = math.log(large / small, 4)
    assert exponent(lambda count: HTMLTree.parse("<div>" * count), 2000, enough=estimated) < estimated + 0.5


@given(
    st.lists(
        st.sampled_from(
            ["<", ">", "/", "b", "div", " a=1", "'", '"', "<b>", "</b>", "<p>", "<!--", "-->", "<script>", "=", "\n"]
        ),
        max_size=60,
    )
)
def test_any_bytes_have_a_cost(pieces: list[str]):
    nodes, steps = html_cost("".join(pieces).encode())
    assert nodes >= 0
    assert steps >= 0
    assert html_cost("".join(pieces).encode() * 2)[0] >= nodes


def test_nothing_costs_nothing():
    assert html_cost(b"") == (0, 0)
