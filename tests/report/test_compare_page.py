"""The page of a comparison: everything is on it, nothing on it is believed, and a browser draws it in every width."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from compared_runs import compared_run

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.report.compare_page import check_page, render, write_comparison
from puna.report.comparison import Comparison
from puna.report.read_compared import read_comparison

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
LONG = "a-run-with-a-name-that-is-longer-than-a-phone-is-wide-lr=0.003-batch_tokens=524288"


@pytest.fixture
def found(tiny: Recipe, tiny_toml: Path, tmp_path: Path) -> Comparison:
    low = load_recipe(
        str(tiny_toml), {"optim.lr": 3e-3, "data.sources.prose.include": ["a/very/long/pattern/*.txt"] * 3}
    )
    return read_comparison(
        [
            compared_run(tmp_path / "one", tiny),
            compared_run(tmp_path / LONG, low.recipe, level=3.9, text=HOSTILE, seconds_per_step=3),
            compared_run(tmp_path / "young", tiny, steps=14),
        ]
    )


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main>")[2].partition("<script>")[0]).split())


def test_figures_notes_differences_and_samples_are_on_it(found: Comparison):
    text = words(render(found))
    for expected in (
        f"3 runs compared Lowest of the finished runs on held-out text: {LONG} with 2.950 bits per byte.",
        "young is not finished: step 14 of 24.", "3.0500 2.8000 3.8000 3.7500 51.4k 6.14k 128 50.0 % 48 s 4 Wh",
        "run data.sources.prose.include optim.lr one", "] 0.003 young [", "step 14 of 24", "prose 75 %, code 25 %.",
        "we the people", "not known", "At 2.56k tokens, which all runs have reached, the mean is that of the part",
    ):  # fmt: skip
        assert expected in text, expected
    assert "puna compare" in text


def test_keys_are_rows_where_there_are_as_many_as_runs(found: Comparison, tmp_path: Path):
    text = words(render(read_comparison([tmp_path / "one", tmp_path / LONG])))
    assert f"key one {LONG} data.sources.prose.include [" in text
    assert "optim.lr 0.01 0.003" in text


def test_the_lowest_of_finished_runs_is_named(found: Comparison, tiny: Recipe, tmp_path: Path):
    text = words(render(read_comparison([tmp_path / "one", compared_run(tmp_path / "four", tiny, level=3.8)])))
    assert "2 runs compared Lowest on held-out text: four with 2.850 bits per byte. The recipes are the same." in text


def test_text_of_a_run_stays_text(found: Comparison):
    page = render(found)
    assert page.count("<script") == 3
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_every_table_and_chart_can_be_read_without_seeing_it(found: Comparison):
    page = render(found)
    assert len(re.findall(r'<div class="scroll[^>]*aria-label="[^"]+" tabindex="0"><table>', page)) == 2
    labels = re.findall(r'class="plot"[^>]*aria-label="([^"]+)"', page)
    assert len(labels) == 6
    assert labels[0].startswith("Held-out bits per byte, mean of the sources. one ends at 3.25; one ends at 3.05;")


def test_the_page_has_every_curve_on_every_axis(found: Comparison):
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', render(found), re.DOTALL)[1])  # type: ignore[index]
    for chart in figures:
        for places in chart["places"].values():
            assert [len(curve) for curve in places] == [len(trace["y"]) for trace in chart["figure"]["data"]]


def test_only_a_comparison_is_replaced(found: Comparison, tmp_path: Path):
    page = tmp_path / "new" / "comparison.html"
    write_comparison(found, page)
    write_comparison(found, page)
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    with pytest.raises(DataError, match="is not a comparison"):
        write_comparison(found, mine)
    assert mine.read_text() == "<p>mine</p>"
    with pytest.raises(DataError, match="is a directory"):
        check_page(tmp_path)


@pytest.mark.browser
@needs_chromium
def test_browser_draws_and_switches_everything_in_every_width_in_light_and_dark(
    found: Comparison, tmp_path: Path, browser: Any
):
    page = tmp_path / "comparison.html"
    write_comparison(found, page)
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": features})
        for width in (390, 768, 1280):
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            browser.get(page.as_uri())
            assert browser.execute_async_script(DRAWN) == [6, 6]
            assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
            assert browser.execute_script(OUTSIDE) == []
            assert browser.execute_script(UNREACHABLE) == []
            light = sum(browser.execute_script(INK)) > 3 * 128
            assert light == (scheme == "dark")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.title == "3 runs compared · Puna"


@pytest.mark.browser
@needs_chromium
def test_a_click_changes_the_axis_and_hides_a_run_in_every_chart(found: Comparison, tmp_path: Path, browser: Any):
    page = tmp_path / "comparison.html"
    write_comparison(found, page)
    browser.get(page.as_uri())

    def last_place() -> float:
        return browser.execute_script("return document.getElementById('plot-0').data[1].x[0]")

    def title() -> str:
        return browser.execute_script("return document.querySelector('#plot-0 .xtitle').textContent")

    assert (last_place(), title()) == (6144, "tokens trained on")
    browser.execute_script("document.querySelector('input[value=time]').click()")
    assert (last_place(), title()) == (48, "time in optimizer steps, s")
    browser.execute_script("document.querySelector('input[value=energy]').click()")
    assert last_place() == pytest.approx(4)
    curves = "return [...document.querySelectorAll('.plot')].map(plot => plot.querySelectorAll('.trace').length)"
    before = browser.execute_script(curves)
    browser.execute_script("document.querySelector('input[name=run][value=\"0\"]').click()")
    after = browser.execute_script(curves)
    assert [old - new for old, new in zip(before, after, strict=True)] == [2, 1, 2, 2, 1, 1]


DRAWN = """
// Plotly draws when the browser finds time, which may be after the page is there.
const told = arguments[0], plots = [...document.querySelectorAll('.plot')];
const look = () => {
  const drawn = plots.filter(plot => plot.querySelector('.scatterlayer .trace path')).length;
  if (drawn < plots.length) requestAnimationFrame(look); else told([plots.length, drawn]);
};
look();
"""
INK = "return getComputedStyle(document.querySelector('.plot .xtick text')).fill.match(/\\d+/g).slice(0, 3).map(Number)"
OUTSIDE = """
// Text outside of what scrolls that is cut by the side of the window.
return [...document.querySelectorAll('h1, h2, h3, p, li, dt, dd, label, footer')]
  .filter(box => !box.closest('.scroll'))
  .filter(box => box.getBoundingClientRect().right > window.innerWidth + 1 || box.scrollWidth > box.clientWidth + 1
    && getComputedStyle(box).display !== 'inline' && box.clientWidth > 0)
  .map(box => box.textContent.trim().slice(0, 40));
"""
UNREACHABLE = """
// Cells of tables that scrolling their region to its end does not bring into it.
return [...document.querySelectorAll('.scroll')].flatMap(region => {
  region.scrollLeft = region.scrollWidth;
  const edge = region.getBoundingClientRect().right + 1;
  return [...region.querySelectorAll('td, th')].filter(cell => cell.getBoundingClientRect().right > edge)
    .map(cell => cell.textContent);
});
"""
