"""The rule `pii`: personal data replaced by its kind: `<email>`, `<ip>`, `<phone>`, `<card>` and `<iban>`.

None of the papers does this; FineWeb masks `email` and `ip` (Penedo et al. 2024). Patterns find candidates in linear
time, checks decide: an IP address must be public and not a version number, a card number must begin like an issuer's
and satisfy Luhn's checksum (ISO/IEC 7812-1), an IBAN must have its country's length and satisfy mod 97 (ISO 13616).
Telephone numbers have no checksum: those that begin with `+` and have 8 to 15 digits (ITU-T E.164), and North American
ones in three groups, are masked.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace

from puna.config.rules import PiiRules
from puna.data.document import Document, Dropped
from puna.data.spec import RuleSpec

REASONS: dict[str, str] = {}
"""Reasons to drop: none, the rule drops nothing."""

IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
    21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
"""Countries by the length of their IBANs (SWIFT, IBAN registry)."""
_LENGTH_OF = {country: length for length, countries in IBAN_LENGTHS.items() for country in countries.split()}

_EMAIL = re.compile(r"(?<!\w)\w[\w.%+'-]{0,63}+@(?:[^\W_][\w-]{0,62}+\.){1,8}[^\W\d_]{2,24}")
_IPV4 = re.compile(r"(?<![\w.])(?<!\w-)\d{1,3}(?:\.\d{1,3}){3}(?!\w|-[A-Za-z]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,34}+(?![\w:])")
_VERSION = re.compile(r"(?:\bv|\bver|\bversions?|\breleases?|\bsections?|§)[.:]?\s{0,3}$", re.IGNORECASE)
_PHONE_ABROAD = re.compile(r"(?<![\w+])\+\d(?:[ .()/-]{0,2}\d){7,14}+(?!\w)")
_PHONE = re.compile(
    r"(?<![\w+.$-])(?:1[ .-])?(?:\([2-9]\d\d\) ?[2-9]\d\d[ .-]|[2-9]\d\d[ .-][2-9]\d\d[.-])\d{4}(?!\w|[.-]\d)"
)
_CARD = re.compile(r"(?<![\w.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5})(?!\w|[.-]\d)")
_ISSUER = re.compile("[3-6]|2[2-7]")  # travel, banks, merchandising; Mastercard's 2221 to 2720
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,29}+")


class Pii:
    """Masks personal data; the numbers masked are the document's scores `pii.email`, `pii.ip` and so on.

    Args:
        rules: The kinds to mask.
    """

    def __init__(self, rules: PiiRules) -> None:
        self._kinds = [kind for kind in _FINDERS if kind in rules.kinds]

    def __call__(self, document: Document) -> Document | Dropped:
        """The document with its personal data masked."""
        text, scores = document.text, {}
        for kind in self._kinds:
            for sign, pattern, end in _FINDERS[kind]:
                if sign.search(text):
                    text, count = _mask(text, pattern, end, f"<{kind}>")
                    if count:
                        scores[f"pii.{kind}"] = scores.get(f"pii.{kind}", 0.0) + count
        return replace(document, text=text, scores=document.scores | scores) if scores else document


def _mask(text: str, pattern: re.Pattern[str], end: Callable[[re.Match[str]], int], mask: str) -> tuple[str, int]:
    """The text with masks, and how many there are."""
    pieces, done, at = [], 0, 0
    while match := pattern.search(text, at):
        at = end(match)
        if at:
            pieces.append(text[done : match.start()])
            done = at
        else:
            at = match.start() + 1
    return (mask.join([*pieces, text[done:]]), len(pieces)) if pieces else (text, 0)


def _whole(match: re.Match[str]) -> int:
    """The end of the match."""
    return match.end()


def _ip(match: re.Match[str]) -> int:
    """The end of a public IP address; 0 if it is not one."""
    found = match[0].rstrip(":") if ":" in match[0] and not match[0].endswith("::") else match[0]
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return 0
    if not address.is_global or address.is_multicast:
        return 0
    if address.version == 4:
        short = len(found) == len("1.2.3.4")  # versions look like this, and one in 400,000 addresses
        if short or _VERSION.search(match.string, max(0, match.start() - 16), match.start()):
            return 0
    return match.start() + len(found)


def _card(match: re.Match[str]) -> int:
    """The end of a card number; 0 if it is not one."""
    digits = re.sub(r"\D", "", match[0])
    return match.end() if _ISSUER.match(digits) and luhn(digits) else 0


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others by Luhn's formula (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += sum(divmod(2 * digit, 10)) if place % 2 else digit
    return total % 10 == 0


def _iban(match: re.Match[str]) -> int:
    """The end of an IBAN; 0 if it is not one. The match may go on beyond it."""
    length, end = _LENGTH_OF.get(match[0][:2], 0), match.start()
    for taken, character in enumerate(match[0]):
        length -= character != " "
        if length <= 0:
            end = match.start() + taken + 1
            break
    candidate = match.string[match.start() : end].replace(" ", "")
    beyond = match.string[end : end + 1]
    if len(candidate) != _LENGTH_OF.get(match[0][:2]) or beyond.isalnum():
        return 0
    number = "".join(str(int(character, 36)) for character in candidate[4:] + candidate[:4])
    return end if int(number) % 97 == 1 else 0


_FINDERS: dict[str, list[tuple[re.Pattern[str], re.Pattern[str], Callable[[re.Match[str]], int]]]] = {
    "email": [(re.compile("@"), _EMAIL, _whole)],
    "iban": [(re.compile(r"[A-Z]{2}\d\d[ A-Z0-9]"), _IBAN, _iban)],
    "card": [(re.compile(r"\d{4}[ -]?\d{4}"), _CARD, _card)],
    "ip": [(re.compile(r"\d\.\d{1,3}\.\d"), _IPV4, _ip), (re.compile(r":[0-9A-Fa-f]{0,4}:"), _IPV6, _ip)],
    "phone": [(re.compile(r"\+\d"), _PHONE_ABROAD, _whole), (re.compile(r"\d{3}[ .-]\d{4}"), _PHONE, _whole)],
}
"""For each kind, in the order of masking: a string that the text must have, which is fast to find; a pattern for
candidates; the check, which gives the end of a match or 0."""


RULE = RuleSpec(
    name="pii",
    settings=PiiRules,
    make=Pii,
    does="masks e-mail and IP addresses, and on request telephone, card and bank account numbers",
    changes="characters",
    reasons=REASONS,
)
