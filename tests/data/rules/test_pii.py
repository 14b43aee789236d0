"""Personal data: what is masked, what is not, and in what time."""

import pickle
import re

import pytest
from growth import assert_in_proportion
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.rules import PiiRules
from puna.data.document import Document
from puna.data.rules import pii
from puna.data.rules.pii import IBAN_LENGTHS, REASONS, Pii, luhn

ALL = Pii(PiiRules(kinds=["email", "ip", "phone", "card", "iban"]))


def masked(text: str, rule: Pii = ALL) -> str:
    found = rule(Document("web", "1", text, ""))
    assert isinstance(found, Document)
    return found.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.doe+news@mail.example.co.uk.", "Write to <email>."),
        ("(mailto:o'brien@x.ie?subject=hi)", "(mailto:<email>?subject=hi)"),
        ("j_d@sub-domain.example.com,k@y.org", "<email>,<email>"),
        ("müller@straße.de", "<email>"),
        ("root@localhost, a@b, @home, @user.name, x@.com, 1 @ 2.50", None),
        ("x" * 65 + "@example.com", None),
        ("from 81.2.69.142 port 22", "from <ip> port 22"),
        ("http://81.2.69.142:8080/, 81.2.69.142/24; 81.2.69.142.", "http://<ip>:8080/, <ip>/24; <ip>."),
        ("2a00:1450:4009:80b::200e, [2a00:1450:4009:80b::200e]:443", "<ip>, [<ip>]:443"),
        ("see 2a00:1450:4009::: no, 2a00:1450::: no", None),
        ("at 2a00:1450:4009:80b::200e: done", "at <ip>: done"),
        ("192.168.1.10 10.0.0.1 127.0.0.1 192.0.2.7 224.0.0.251 fe80::1 ::1 2001:db8::1", None),
        ("version 10.20.30.40, v81.2.69.142, Section 81.2.69.142, 1.2.3.4, lib-81.2.69.142", None),
        ("81.2.69.142-beta 81.2.69.142.5 381.2.69.142 81.2.69.1420 12:30:45 std::vector dead::beef", None),
        ("Call +44 20 7946 0958 or (212) 555-0123!", "Call <phone> or <phone>!"),
        ("1-800-555-0199, +1 (415) 555-0132, 415.555.0132, +493012345678", "<phone>, <phone>, <phone>, <phone>"),
        ("+12 is little, a+12345678 x, 1939-1945, 555-0123, 300 400 5000, $212.555.0123, 2020-05-12", None),
        ("+1234567890123456", None),
        ("card 4111 1111 1111 1111 12/25, 378282246310005", "card <card> 12/25, <card>"),
        ("5555-5555-5555-4444; 3782 822463 10005", "<card>; <card>"),
        ("4111 1111 1111 1112 4111-1111 1111 1111 1111111111111117", None),
        ("x4111111111111111 4111111111111111.5 978030640615", None),
        ("GB82 WEST 1234 5698 7654 32 THIS, DE89370400440532013000", "<iban> THIS, <iban>"),
        ("BE68 5390 0754 7034 BANK DE89370400440532013000", "<iban> BANK <iban>"),
        ("GB82 WEST 1234 5698 7654 33, XX82 WEST 1234 5698 7654 32, DE893704004405320130001", None),
        ("nothing here", None),
    ],
)
def test_what_is_masked(text: str, expected: str | None):
    assert masked(text) == (text if expected is None else expected)


def test_only_what_the_recipe_names_is_masked_and_counted():
    text = "a@b.de c@d.fr 81.2.69.142 2a00:1450:4009:80b::200e +44 20 7946 0958"
    rule = pickle.loads(pickle.dumps(Pii(PiiRules())))
    found = rule(Document("web", "1", text, "", scores={"language": 0.9}))
    assert found.text == "<email> <email> <ip> <ip> +44 20 7946 0958"
    assert found.scores == {"language": 0.9, "pii.email": 2, "pii.ip": 2}
    assert masked(text, Pii(PiiRules(kinds=["phone"]))) == text.replace("+44 20 7946 0958", "<phone>")


def test_a_document_without_any_is_the_same_one():
    document = Document("web", "1", "Nothing to see: 1.5 @ 2.", "")
    assert ALL(document) is document
    assert REASONS == {}


@pytest.mark.parametrize("number", ["79927398713", "4111111111111111", "0"])
def test_luhn_accepts_one_check_digit_of_ten(number: str):
    assert [luhn(number[:-1] + digit) for digit in "0123456789"].count(True) == 1
    assert luhn(number)


# The registry's own examples, one of each length and the commonest countries.
EXAMPLES = [
    "NO9386011117947",
    "BE68539007547034",
    "DK5000400440116243",
    "NL91ABNA0417164300",
    "SI56263300012039086",
    "AT611904300234573201",
    "CH9300762011623852957",
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "IL620108000000099999999",
    "ES9121000418450200051332",
    "PT50000201231234567890154",
    "TR330006100519786457841326",
    "FR1420041010050500013M02606",
    "PL61109010140000071219812874",
    "BR9700360305000010009795493P1",
    "JO94CBJO0010000000000131000302",
    "MT84MALT011000012345MTLCAST001S",
    "LC55HEMM000100010012001200023015",
    "IT60X0542811101000000123456",
    "SE4550000000058398257466",
]


@pytest.mark.parametrize("iban", EXAMPLES)
def test_ibans_are_known_by_their_countries_length_and_checksum(iban: str):
    spaced = " ".join(iban[n : n + 4] for n in range(0, len(iban), 4))
    assert masked(f"to {iban}, or {spaced}.") == "to <iban>, or <iban>."
    wrong = iban[:-1] + ("0" if iban[-1] != "0" else "1")
    assert "<iban>" not in masked(f"to {wrong}.")
    assert "<iban>" not in masked(f"to {iban}0.")
    assert iban[:2] in IBAN_LENGTHS[len(iban)].split()


HOSTILE = st.text(st.sampled_from("ab@.- 0123456789+:DE89()%'\n/é"))
PIECES = st.lists(
    st.sampled_from(
        ["81.2.69.142", "a@b.de", "2a00:1450::1", "+442079460958", "4111 1111 1111 1111", *EXAMPLES, " ", "."]
    )
).map("".join)


@settings(max_examples=300)
@given(st.one_of(HOSTILE, PIECES))
def test_masking_never_fails_and_leaves_the_rest_as_it_was(text: str):
    left = re.split("<(?:email|ip|phone|card|iban)>", masked(text))
    assert re.fullmatch(".+".join(map(re.escape, left)), text, flags=re.DOTALL)


@settings(max_examples=300)
@given(st.one_of(HOSTILE, PIECES))
def test_the_quick_look_misses_nothing(text: str):
    for finders in pii._FINDERS.values():
        for sign, pattern, end in finders:
            if any(end(match) for match in pattern.finditer(text)):
                assert sign.search(text)


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "a@", "a@b.", "a@a.a", "1", "1.", "1 ", "12:", "2a00:", "+1", "+1 ", "4111 ", "AB12", "AB12 ", "(212) ",
     "212-", "A", "é", "%", "1-", "+1(", "a-"],
)  # fmt: skip
def test_the_time_grows_with_the_length_and_not_its_square(unit: str):
    assert_in_proportion(lambda size: masked((unit * size)[:size]), 80_000)
