"""What a model writes runs nothing, loads nothing and leads nowhere but to the web and to mail."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from chat_driver import ChatDriver
from scripted_chat import MODELS, Script

from puna.serve.errors import ApiError

pytestmark = pytest.mark.browser

RUN = "window.owned=1"
ATTACKS = [
    f"<script>{RUN}</script>",
    f"</textarea></p></article><script>{RUN}</script>",
    f'<img src=x onerror="{RUN}"><svg onload="{RUN}"><body onpageshow="{RUN}">',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe><object data="javascript:{RUN}"></object>',
    f'<a href="javascript:{RUN}">here</a><form action="javascript:{RUN}"><button>x</button></form>',
    f"[here](javascript:{RUN}) [here](<javascript:{RUN}>) [here](JaVaScRiPt:{RUN}) [here](java\tscript:{RUN})",
    f"[here](&#106;avascript:{RUN}) [here](%6aavascript:{RUN}) [here](\\javascript:{RUN}) [here](\x01javascript:{RUN})",
    "[here](data:text/html,<script>opener.owned=1</script>) [here](vbscript:x) [here](file:///etc/hosts) [h](blob:x)",
    "[here](/v1/models) [here](//evil.example) [here](page/app.js) [here](#say) [here](?x)",
    f"![x](javascript:{RUN}) ![x](https://evil.example/x.png) ![x](page/icon.svg)",
    f"<javascript:{RUN}> <data:text/html,x> <mailto:a@b.example> <https://good.example/?q=<script>>",
    f'[x](https://good.example/"onmouseover="{RUN}) [x](https://good.example "a\\"onclick=\\"{RUN}")',
    f'```"><script>{RUN}</script>\n</code></pre><script>{RUN}</script>\n```',
    f"| <b onclick={RUN}>a | b |\n|--|--|\n| <script>{RUN}</script> | [x](javascript:{RUN}) |",
    "> - # <style>*{display:none}</style> <link rel=stylesheet href=//evil.example> <base href=//evil.example>",
    f"{{{{{RUN}}}}} ${{{RUN}}}",
    "\u202e\u2066 right to left \u0000 \ufffe \U0001d538 " + "[" * 500 + "](" * 500 + "*" * 501,
]  # fmt: skip
INSPECT = """
const allowed = new Set(arguments[0]), found = [];
const places = ["turns", "list", "notice", "draft-tokens", "alternatives", "announcer", "model"];
for (const element of document.querySelectorAll(places.map((name) => `#${name} *`).join())) {
  const name = element.localName;
  if (!allowed.has(name)) found.push("element " + name);
  for (const { name: attribute, value } of element.attributes) {
    const loads = ["src", "srcdoc", "action", "formaction", "data"].includes(attribute);
    if (loads || attribute.startsWith("on")) found.push(name + " " + attribute);
    const leads = /^(https:\\/\\/good\\.example|mailto:|https:\\/\\/evil\\.example\\/x\\.png$)/.test(value);
    if (attribute === "href" && !leads) found.push("link to " + value);
  }
  if (name === "a" && !(element.relList.contains("noopener") && element.target === "_blank")) found.push("opener");
}
for (const { name } of performance.getEntriesByType("resource"))
  if (new URL(name).origin !== location.origin) found.push("loaded " + name);
if (window.owned) found.push("something ran");
return found;
"""
ELEMENTS = [
    "a", "article", "blockquote", "br", "button", "code", "dd", "details", "div", "dl", "dt", "em", "figcaption",
    "figure", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "option", "p", "path", "pre", "s", "span", "strong",
    "summary", "svg", "table", "tbody", "td", "th", "thead", "tr", "ul",
]  # fmt: skip


@contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Another server of this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def inspect(chat: ChatDriver) -> list[str]:
    return chat.browser.execute_script(INSPECT, ELEMENTS)


def test_hostile_answers_stay_text_wherever_they_are_shown(page_browser: Any, script: Script) -> None:
    """In the answer, as tokens and their alternatives, in the question, its title and what is read out."""
    script.text = "\n\n".join(ATTACKS)
    script.others = (f"<img src=x onerror={RUN}>",)
    chat = ChatDriver(page_browser, script.url)
    chat.browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", chat.at("say"), ATTACKS[2]
    )
    chat.at("send").click()
    chat.answered()
    assert inspect(chat) == []
    assert chat.browser.execute_script(
        "return document.querySelector('.turn.assistant').textContent.includes(arguments[0])", ATTACKS[0]
    )
    for link in chat.all(".words a")[:2]:
        assert link.get_attribute("href").startswith(("https://", "mailto:"))
    chat.press("Probabilities")
    chat.browser.execute_script("document.querySelectorAll('.token')[3].focus()")
    assert "onerror" in chat.at("alternatives").text
    assert inspect(chat) == []
    chat.browser.refresh()
    chat.until(lambda: chat.all(".turn.assistant .words > *"))
    assert inspect(chat) == []
    assert chat.errors() == []


def test_hostile_names_and_errors_stay_text(page_browser: Any, script: Script) -> None:
    script.models = [MODELS[0] | {"id": ATTACKS[0], "title": ATTACKS[2]}]
    script.errors = [ApiError(400, ATTACKS[2]), ApiError(500, ATTACKS[0])]
    chat = ChatDriver(page_browser, script.url)
    assert ATTACKS[0] in chat.at("turns").text
    for attack in (ATTACKS[2], ATTACKS[0]):
        chat.say("hello")
        chat.until(lambda: chat.at("notice").is_displayed())
        assert attack in chat.at("notice").text
        assert inspect(chat) == []
    assert chat.errors() == []


def test_the_browser_itself_refuses_what_text_could_try(page_browser: Any, script: Script) -> None:
    """The policy holds also where the page had a fault: nothing is parsed as HTML, run or sent elsewhere."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with listening(Handler) as elsewhere:
        ChatDriver(page_browser, script.url)
        told = page_browser.execute_async_script(
            """const [elsewhere, done] = arguments, told = {};
            const element = document.createElement("div");
            document.body.append(element);
            const attempt = (name, act) => {
              try { act(); told[name] = "done"; } catch (error) { told[name] = error.name; }
            };
            attempt("html", () => { element.innerHTML = "<b>x</b>"; });
            attempt("script", () => {
              const script = document.createElement("script");
              script.textContent = "window.owned = 1";
              element.append(script);
            });
            attempt("handler", () => element.setAttribute("onclick", "window.owned = 1"));
            element.click();
            element.setAttribute("style", "color: rgb(1, 2, 3)");
            told.style = getComputedStyle(element).color === "rgb(1, 2, 3)" ? "done" : "refused";
            const image = document.createElement("img");
            image.onerror = () => fetch(elsewhere + "/fetch").then(() => "done", () => "refused").then((fetched) => {
              element.remove();
              done({ ...told, fetched, owned: Boolean(window.owned) });
            });
            image.src = elsewhere + "/image";
            element.append(image);""",
            elsewhere,
        )
    assert told == {
        "html": "TypeError", "script": "TypeError", "handler": "TypeError", "style": "refused", "fetched": "refused",
        "owned": False,
    }  # fmt: skip
    assert asked == []
    page_browser.get_log("browser")
