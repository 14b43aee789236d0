"""Files of keys, and callers by them; no message shows a key."""

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import ServeError
from puna.serve.errors import ApiError
from puna.serve.keys import Keys, read_keys

ALICE, BOB = "alices-secret-key-1", "bobs_secret.key~2+/=="


@pytest.fixture
def keys() -> Keys:
    return Keys({"alice": ALICE, "bob": BOB})


def _written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.txt"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_names_callers_and_their_keys(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _written(tmp_path, f"# who may ask\n\nalice: {ALICE}\r\n  bob:{BOB}\n", mode=0o640)
    keys = read_keys(path)
    assert len(keys) == 2
    assert keys.caller([f"Bearer {ALICE}".encode()]).name == "alice"
    assert keys.caller([f"bearer  {BOB}".encode()]).name == "bob"
    assert capfd.readouterr().err == ""


def test_a_file_that_every_user_can_read_gets_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_keys(_written(tmp_path, f"alice: {ALICE}", mode=0o644))
    assert "can be read by every user of this machine; run: chmod o-r " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no key"),
        ("# alice: x\n", "has no key"),
        (ALICE, "line 1 is not 'name: key'"),
        (f"alice: {ALICE}\nbob: {ALICE}", "line 2 has the key of line 1"),
        (f"alice: {ALICE}\n\nalice: {BOB}", "line 3 gives a second key to 'alice'"),
        ("alice: fifteen-letters", "has 15 characters; the fewest are 16"),
        (f"alice: {ALICE} {BOB}", "characters that a header cannot carry"),
        ("alice: schlüssel-der-nicht-geht", "characters that a header cannot carry"),
        (f"alice: {'k' * 513}", "more than 512"),
        (f"a b: {ALICE}", "line 1 has the name 'a b'"),
        (f": {ALICE}", "line 1 has the name ''"),
        (f"anyone: {ALICE}", "'anyone' is who comes without a key"),
        (f"{'n' * 65}: {ALICE}", "names are up to 64"),
    ],
)
def test_what_is_not_a_name_and_a_key_of_its_own_is_named_by_its_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ServeError) as caught:
        read_keys(_written(tmp_path, text))
    assert says in str(caught.value)
    assert ALICE not in str(caught.value)
    assert BOB not in str(caught.value)


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"alice: \xff\xfe")
    for path in (tmp_path / "bytes", tmp_path / "nothing", tmp_path):
        with pytest.raises(ServeError, match=str(path)):
            read_keys(path)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_api_key"),
        ([b""], "invalid_api_key"),
        ([ALICE.encode()], "invalid_api_key"),
        ([b"Basic " + ALICE.encode()], "invalid_api_key"),
        ([b"Bearer " + ALICE.encode(), b"Bearer " + ALICE.encode()], "invalid_api_key"),
        ([b"Bearer " + ALICE[:-1].encode()], "invalid_api_key"),
        ([b"Bearer " + ALICE.encode() + b"\xff"], "invalid_api_key"),
        ([b"Bearer alice"], "invalid_api_key"),
    ],
)
def test_a_request_without_its_key_is_told_what_to_send(keys: Keys, headers: list[bytes], code: str) -> None:
    with pytest.raises(ApiError) as caught:
        keys.caller(headers)
    assert (caught.value.status, caught.value.body["error"]["code"]) == (401, code)
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    assert ALICE[:8] not in caught.value.message


@given(st.binary(max_size=80))
def test_no_bytes_but_the_key_are_the_key(value: bytes) -> None:
    keys = Keys({"alice": ALICE})
    if value.strip() == ALICE.encode():
        return
    with pytest.raises(ApiError):
        keys.caller([b"Bearer " + value])


def test_salts_follow_from_secret_and_key_and_differ_in_both() -> None:
    secret = b"s" * 32
    salt = Keys({"alice": ALICE}, secret).caller([b"Bearer " + ALICE.encode()]).salt
    assert salt == hmac.new(secret, b"salt:" + ALICE.encode(), hashlib.sha256).hexdigest()
    both = Keys({"alice": ALICE, "bob": BOB})
    others = [both.caller([f"Bearer {key}".encode()]).salt for key in (ALICE, BOB)]
    again = Keys({"alice": ALICE}).caller([f"Bearer {ALICE}".encode()]).salt
    assert len({salt, again, *others, ""}) == 5


def test_no_key_is_kept() -> None:
    kept = repr(vars(Keys({"alice": ALICE})))
    assert "alice" in kept
    assert ALICE not in kept
