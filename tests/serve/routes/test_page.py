"""The files of the chat page, as they are sent."""

import re
from pathlib import Path

from starlette.testclient import TestClient

from puna.serve.routes.page import POLICY, page_files

FILES = Path(__file__).parents[3] / "src" / "puna" / "serve" / "page"
LONGEST = 450


def test_the_page_is_sent_under_a_policy_that_runs_its_own_scripts_alone(http: TestClient) -> None:
    answer = http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert {source for rule in rules.values() for source in rule.split()} == {"'self'", "'none'", "'script'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_browser_that_has_a_file_is_not_sent_it_again(http: TestClient) -> None:
    first = http.get("/page/app.js")
    assert first.headers["cache-control"] == "no-cache"
    again = http.get("/page/app.js", headers={"If-None-Match": f'W/"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/page/app.js", headers={"If-None-Match": '"other"'}).content == first.content


def test_every_file_is_sent_with_its_type_and_nothing_else_is_there(http: TestClient) -> None:
    for name, file in page_files().items():
        answer = http.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == file.media_type
    assert "--paper:" in http.get("/page/app.css").text
    for name in ("__init__.py", "none.js", "..%5cpage.py"):
        answer = http.get(f"/page/{name}")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "the chat page has no file of this name"
    assert http.get("/page/..%2fpage.py").status_code == 404


def test_the_page_names_no_address_but_its_own() -> None:
    for path in FILES.iterdir():
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert set(re.findall(r"(?:https?:)?//[a-z][\w.]*\.\w+", text)) <= {"http://www.w3.org"}, path.name


def test_modules_import_modules_that_are_there_and_nothing_is_left_over() -> None:
    named = {"app.js", *re.findall(r'page/([\w.]+)"', page_files()["index.html"].content.decode())}
    for name, file in page_files().items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([\w.]+)"', file.content.decode()))
    assert named == page_files().keys() - {"index.html"}


def test_no_file_is_too_long_to_read_and_none_parses_text_as_html() -> None:
    for path in FILES.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST
        assert not re.search(
            r"(?:inner|outer)HTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\(", text
        )
