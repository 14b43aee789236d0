"""The page's looks at 390 and 1280 pixels, in the light and the dark, and how it is for ears and keyboards."""

from typing import Any

import pytest
from chat_driver import ChatDriver, Keys
from scripted_chat import Script

pytestmark = pytest.mark.browser

TEXT = """## A heading

A paragraph with `code` and a word_that_is_longer_than_a_phone_is_wide_and_has_no_place_where_it_could_be_broken_at_all.

```python
line = "that is rather long, so that it has to be scrolled on a phone and is never broken where it must not be"
```

| Name | Value | Notes that are long |
|---|--:|---|
| `a_rather_long_name` | 1,234,567.89 | what has been said about this value by several people |

1. one
   - inner
2. two
"""
FAULTS = r"""
const found = [], width = document.documentElement.clientWidth, phone = width < 500;
const told = (element) => element.getAttribute("aria-label") ?? element.textContent;
const say = (what, element) =>
  found.push(`${what}: ${element.id || element.className || element.localName} ${told(element).slice(0, 30)}`);
const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[inert]");
const root = document.documentElement;
if (Math.max(root.scrollWidth, document.body.scrollWidth) > width) found.push("the page is wider than the window");
if (root.scrollHeight > innerHeight) found.push("the page is higher than the window");

const parents = function* (element) {
  for (let at = element; at; at = at.parentElement) yield at;
};
const scrolls = (element) => [...parents(element.parentElement)].some((at) =>
  getComputedStyle(at).overflowX !== "visible" && at.id !== "scroller" && at !== document.body && at !== root);
for (const element of document.querySelectorAll("#page *, dialog[open] *")) {
  const box = element.getBoundingClientRect();
  if (!visible(element) || !box.width || element.closest("svg, .apart") || scrolls(element)) continue;
  if (box.right > width + 1 || box.left < -1) say("runs off the page", element);
}

const name = (element) => element.getAttribute("aria-label") || element.textContent.trim() || element.title ||
  [...element.labels ?? []].map((label) => label.textContent).join("");
for (const element of document.querySelectorAll("button, a, input, select, textarea, summary, [tabindex]")) {
  if (!visible(element)) continue;
  const box = element.getBoundingClientRect(), kind = element.localName;
  if (!name(element)) say("has no name", element);
  const pressed = ["button", "summary"].includes(kind);
  if (pressed && Math.min(box.width, box.height) < 24) say("is too small to press", element);
  const small = parseFloat(getComputedStyle(element).fontSize) < 16;
  if (phone && small && ["input", "select", "textarea"].includes(kind)) say("makes a phone zoom", element);
}

const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push("two are called " + id);
for (const attribute of ["for", "aria-labelledby", "aria-describedby", "aria-controls"])
  for (const element of document.querySelectorAll(`[${attribute}]`))
    if (!document.getElementById(element.getAttribute(attribute))) say(`${attribute} names nothing`, element);

// Contrast of text and ground, 4.5 at least (WCAG 2.2, success criterion 1.4.3, and its "relative luminance").
const colour = (text) => {
  const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
  return { parts: [red, green, blue], alpha };
};
const over = (top, below) =>
  ({ parts: top.parts.map((part, at) => part * top.alpha + below.parts[at] * (1 - top.alpha)), alpha: 1 });
const ground = (element) => {
  const layers = [...parents(element)].map((at) => colour(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below));
};
const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
const light = ({ parts: [red, green, blue] }) =>
  0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!own || !visible(element) || element.closest(".apart, :disabled, .skip, noscript, option")) continue;
  const opacity = [...parents(element)].reduce((product, at) => product * getComputedStyle(at).opacity, 1);
  const below = ground(element), front = colour(getComputedStyle(element).color);
  const [one, other] = [light(over({ ...front, alpha: front.alpha * opacity }, below)), light(below)];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, element);
}
return found;
"""


def faults(chat: ChatDriver) -> list[str]:
    return chat.browser.execute_script(FAULTS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_has_no_faults_of_layout_names_and_contrast(
    page_browser: Any, script: Script, width: int, scheme: str
) -> None:
    script.text = TEXT
    chat = ChatDriver(page_browser, script.url, width=width, scheme=scheme)
    shown = {"empty": faults(chat)}
    chat.say("A question that is long enough to be broken on a phone, but not on a desk.")
    chat.answered()
    chat.press("Answer again")
    chat.until(lambda: chat.all(".assistant .branches"))
    chat.answered()
    shown["answered"] = faults(chat)
    chat.press("Probabilities")
    chat.browser.execute_script("document.querySelectorAll('.token')[2].focus()")
    shown["tokens"] = faults(chat)
    chat.press("Settings")
    shown["settings"] = faults(chat)
    chat.at("settings-close").click()
    script.text = "plain words"
    chat.choose_model("plain")
    chat.at("draft").send_keys("Once upon a time")
    chat.press_go()
    shown["text"] = faults(chat)
    if width < 500:
        chat.press("Conversations")
    shown["list"] = faults(chat)
    assert {where: found for where, found in shown.items() if found} == {}
    assert chat.errors() == []


def test_an_answer_is_read_out_sentence_by_sentence(page_browser: Any, script: Script) -> None:
    script.text = "One is here. Two is there! And the third"
    chat = ChatDriver(page_browser, script.url)
    chat.say("Count.")
    chat.answered()
    announcer = chat.at("announcer")
    assert announcer.get_attribute("aria-live") == "polite"
    assert "".join(chat.texts("#announcer p")).replace("\n", "") == script.text.replace(". ", ".").replace("! ", "!")
    labels = chat.browser.execute_script(
        "return [...document.querySelectorAll('article')].map((turn) => turn.getAttribute('aria-label'))"
    )
    assert labels == ["You", "chatty"]


def test_everything_is_reached_by_keys(page_browser: Any, script: Script) -> None:
    """A question, its tokens and their alternatives, an edited question, the list of keys, and back."""
    chat = ChatDriver(page_browser, script.url)

    def focused() -> str:
        told = "const at = document.activeElement; return at.getAttribute('aria-label') || at.id"
        return chat.browser.execute_script(told)

    assert focused() == "say"
    chat.keys("Hello")
    chat.keys(Keys.SHIFT, Keys.ENTER)
    chat.keys("there")
    chat.keys(Keys.ENTER)
    chat.answered()
    assert chat.turns[0] == "Hello\nthere"
    assert focused() == "say"
    for _ in range(4):
        chat.keys(Keys.SHIFT, Keys.TAB)
        if focused() == "Probabilities":
            break
    chat.keys(Keys.ENTER)
    chat.until(lambda: chat.all(".token"))
    chat.keys(Keys.SHIFT, Keys.TAB)
    while not focused().startswith("Paris"):
        chat.keys(Keys.SHIFT, Keys.TAB)
    chat.keys(Keys.ARROW_RIGHT)
    assert focused().startswith(" is")
    assert "·Rome" in chat.at("alternatives").text
    assert chat.browser.switch_to.active_element.get_attribute("aria-describedby") == "alternatives"
    chat.keys(Keys.ESCAPE)
    assert not chat.at("alternatives").is_displayed()
    chat.keys("/")
    assert focused() == "say"
    chat.keys(Keys.ARROW_UP)
    assert focused() == "Edit your message"
    chat.keys(Keys.ESCAPE)
    chat.keys("?")
    assert chat.at("shortcuts").is_displayed()
    assert "Answer again" in chat.at("shortcuts").text
    chat.keys(Keys.ESCAPE)
    assert not chat.at("shortcuts").is_displayed()
    chat.keys(Keys.CONTROL, ",")
    assert chat.at("settings").is_displayed()
    chat.keys(Keys.ESCAPE)
    chat.keys(Keys.CONTROL, "k")
    assert focused() == "Search conversations"


def test_faults_are_found_where_there_are_some(page_browser: Any, script: Script) -> None:
    chat = ChatDriver(page_browser, script.url, width=390)
    chat.browser.execute_script(
        """const page = document.getElementById("page"), small = document.createElement("button");
        small.className = "small";
        small.style.cssText = "position: absolute; left: 380px; width: 20px; height: 20px; min-height: 0; padding: 0";
        const pale = document.createElement("p");
        pale.textContent = "pale";
        pale.style.cssText = "color: #aaa; background: #fff";
        pale.setAttribute("aria-describedby", "nobody");
        page.append(small, pale);"""
    )
    assert sorted(fault.split(":")[0] for fault in faults(chat)) == [
        "aria-describedby names nothing", "contrast 2.32", "has no name", "is too small to press", "runs off the page",
        "the page is wider than the window",
    ]  # fmt: skip
