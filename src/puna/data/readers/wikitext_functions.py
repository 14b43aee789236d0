"""What the tables of templates cannot say by a pattern: numbers with units, formulas, lists, parser functions."""
# ruff: noqa: RUF001, RUF002 (characters that look alike are what these strings are about)

import re

from puna.data.readers.wikitext_dates import DATES
from puna.data.readers.wikitext_marks import BREAK, BULLET, END, GAP, HOLE, NUMBER, SPOKEN
from puna.data.readers.wikitext_patterns import Function, TemplateCall, Words
from puna.data.text.scripts import lowered, raised

_RANGES = {"-": "–", "–": "–", "to": " to ", "to(-)": " to ", "to about": " to about ", "and": " and ",
           "and(-)": " and ", "or": " or ", "x": " × ", "×": " × ", "*": " × ", "by": " by ", "xx": " × ",
           "+/-": " ± ", "±": " ± ", "+": " + ", ",": ", ", "a": " a ", "y": " y ", "à": " à ", "et": " et ",
           "i": " i ", "do": " do ", "bis": " bis ", "und": " und "}  # fmt: skip
_UNITS = {"C": "°C", "F": "°F", "C-change": "°C", "F-change": "°F", "sqmi": "sq mi", "sqft": "sq ft", "sqin": "sq in",
          "sqyd": "sq yd", "cuft": "cu ft", "cumi": "cu mi", "cuin": "cu in", "cuyd": "cu yd", "acre": "acres",
          "mile": "miles", "usgal": "US gal", "impgal": "imp gal", "foot": "feet", "kph": "km/h",
          "kn": "knots", "oilbbl": "bbl", "oilbbl/d": "bbl/d",
          "Goilbbl": "Gbbl", "MUSgal": "million US gal", "carat": "carats", "m/s2": "m/s²", "g/cm3": "g/cm³",
          "kg/m3": "kg/m³", "m3/s": "m³/s", "in2": "in²", "in3": "in³", "ft2": "ft²", "ft3": "ft³", "mi2": "mi²",
          "ftin": "ft", "LT": "long tons", "ST": "short tons", "persqmi": "per sq mi", "PD/km2": "/km²",
          "PD/sqmi": "/sq mi", "um": "µm"}  # fmt: skip
_POWER = re.compile(r"^([kcdmµ]?m)([23])$")
_MANY = re.compile(r"^(e[0-9]{1,2})(.+)$")
_COMPOUND = {"ft", "st", "lb", "mi", "yd", "long cwt", "cwt", "oz", "ch", "furlong"}
_PLAIN_NUMBER = re.compile(r"([−-]?)([0-9]+)(\.[0-9]+)?")


def grouped(number: str, words: Words) -> str:
    """A number with the marks of its language, as MediaWiki's `formatnum` writes it; other text as it is."""
    plain = number.replace(",", "") if re.fullmatch(r"[−-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", number) else number
    match = _PLAIN_NUMBER.fullmatch(plain)
    if not match:
        return number
    sign, whole, rest = match[1].replace("-", "−"), match[2], match[3] or ""
    if len(whole) >= words.least:
        start = len(whole) % 3
        groups = [whole[:start]] if start else []
        whole = words.thousands.join(groups + [whole[place : place + 3] for place in range(start, len(whole), 3)])
    return f"{sign}{whole}{rest.replace('.', words.decimal)}"


def _measure(call: TemplateCall, _: str) -> str:
    """`{{convert|5|km|mi}}`: the value and unit as the source gave them; the converted value is a computation."""
    value, *rest = call.positional or [""]
    text = _amount(value, call.words)
    while len(rest) >= 2 and rest[0] in _RANGES:
        text += _RANGES[rest[0]] + _amount(rest[1], call.words)
        rest = rest[2:]
    if not rest or not value:
        return text
    unit = rest[0]
    if unit == "ftin" and len(rest) > 1:
        return f"{text} ft {rest[1]} in"
    if many := _MANY.match(unit):
        text, unit = f"{text}×10{raised(many[1][1:], '0')}", many[2]
    text += f"{'' if unit.startswith('PD/') else ' '}{_unit(unit)}"
    while len(rest) >= 3 and rest[0] in _COMPOUND and rest[1][:1].isdigit():
        text += f" {rest[1]} {_unit(rest[2])}"
        rest = rest[2:]
    return text


def _amount(value: str, words: Words) -> str:
    return grouped(value, words) if value.isascii() else value


def _unit(name: str) -> str:
    return _UNITS.get(name) or _POWER.sub(lambda match: match[1] + raised(match[2], "m"), name)


def _value(call: TemplateCall, _: str) -> str:
    """`{{val|1.2|0.3|e=5|u=kg}}`: 1.2±0.3×10⁵ kg."""
    named, text = call.named, call.get(0)
    if call.get(2) or call.get(1).startswith("+"):
        text += "".join(part.replace("-", "−") for part in (call.get(1), call.get(2)))
    elif call.get(1):
        text += f"±{call.get(1)}"
    if exponent := named.get("e"):
        text += f"{'×' if text else ''}10{raised(exponent, '0')}"
    unit = next((named[key] for key in ("u", "ul", "unit", "um") if named.get(key)), "")
    per = named.get("up") or named.get("upl") or ""
    text = f"{named.get('p', '')}{text}{named.get('s', '')}"
    unit = f"{unit}/{per}" if per else unit
    return f"{text} {unit}".strip() if not unit.startswith(("°", "%")) or unit == "°C" else f"{text}{unit}"


def _quantity(call: TemplateCall, _: str) -> str:
    """`{{unité|5|m|2}}`: 5 m²; `{{unité|1500|km|s|-1}}`: 1 500 km s⁻¹."""
    text = grouped(call.get(0), call.words)
    if end := call.named.get("à") or call.named.get("a"):
        text += f" à {grouped(end, call.words)}"
    if exponent := call.named.get("e") or call.named.get("10"):
        text += f"×10{raised(exponent, '0')}"
    units = ""
    for part in call.positional[1:]:
        power = part.strip("-−").isdigit()
        units += raised(part, "m") if power and units else f" {part}" if part else ""
    return f"{text}{units}".strip()


def _atoms(text: str) -> str:
    """A part of a formula: a number of atoms, a charge or symbols."""
    if text.isdigit():
        return lowered(text, "H")
    return raised(text, "H") if text.rstrip("+-−–").isdigit() or text in ("+", "-", "−") else text


_COUNT = re.compile(r"(?<=[A-Za-z)\]])([0-9]+)(?![0-9]*[+-])|\(([0-9]*[+−-])\)|(?<=[A-Za-z)\]])([0-9]*[+−-])(?=$|\s)")


def _formula(call: TemplateCall, kind: str) -> str:
    """`{{chem2|SO4(2-)}}`: SO₄²⁻; `{{CO2}}`: its own name."""
    text = call.name if kind == "name" else "".join(call.positional)
    text = text[:1].upper() + text[1:]
    return _COUNT.sub(lambda match: lowered(match[1], "H") if match[1] else raised(match[2] or match[3], "H"), text)


def _fraction(call: TemplateCall, _: str) -> str:
    given = [text for text in call.positional if text]
    if len(given) == 3:
        return f"{given[0]} {given[1]}/{given[2]}"
    return "/".join(given) if len(given) == 2 else f"1/{''.join(given)}" if given else ""


def _root(call: TemplateCall, _: str) -> str:
    """`{{sqrt|2}}`: √2; `{{sqrt|x + 1|3}}`: ³√(x + 1)."""
    inner, degree = call.get(0), call.get(1)
    inner = f"({inner})" if re.search(r"[\s+/*·−-]", inner) else inner
    return f"{raised(degree, '') if degree and degree != '2' else ''}√{inner}" if inner else ""


def _nuclide(call: TemplateCall, _: str) -> str:
    """`{{nuclide|carbon|14}}`: carbon-14; `{{nuclide|C|14}}`: ¹⁴C."""
    name, mass = call.get(0), call.get(1)
    return f"{raised(mass, '')}{name}" if len(name) < 3 else f"{name}-{mass}" if mass else name


def _su(call: TemplateCall, _: str) -> str:
    """A superscript above a subscript."""
    first, *others = call.positional or [""]
    low, high = [*others, "", ""][:2] if others else ("", "")
    low, high = call.named.get("b") or low, call.named.get("p") or high
    return f"{first}{lowered(low, 'x') if low else ''}{raised(high, 'x') if high else ''}"


def _spoken(call: TemplateCall, kind: str) -> str:
    """How a word is spoken, between the marks for it."""
    if kind == "2":
        text = call.named.get("label") or call.get(1)
    elif kind in ("/", "-"):
        labels = {"lang", "pron", "uk", "us", "audio", "local", "also", "en"}
        parts = [part for part in call.positional if part.lower() not in labels and not part.endswith(".ogg")]
        text = f"/{''.join(parts)}/" if kind == "/" else "-".join(parts)
    else:
        coded = len(call.positional) > 1 and re.fullmatch(r"[a-z]{2,3}(-[a-z]+)?", call.get(0))
        text = call.get(1 if coded else 0)
        text = f"[{text}]" if kind and not text.startswith(("[", "/")) and text else text
    return f"{SPOKEN}{text}{END}" if text else ""


def _coordinates(call: TemplateCall, _: str) -> str:
    """`{{coord|13|19|N|169|9|W}}`: 13°19′N 169°9′W, which goes with its brackets; nothing where only titles show it."""
    shown = call.named.get("display", "inline").lower()
    if "inline" not in shown and shown not in ("i", "it", "ti"):
        return HOLE
    parts, text, degree = [], "", 0
    for part in call.positional:
        if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", part) and degree < 3:
            text += part + "°′″"[degree]
            degree += 1
        elif part.upper() in ("N", "S", "E", "W", "O"):
            parts.append(text + part.upper())
            text, degree = "", 0
    decimal = [part for part in call.positional[:2] if re.fullmatch(r"-?[0-9.]+", part)]
    written = " ".join(parts) if len(parts) == 2 else ", ".join(f"{part}°" for part in decimal)
    return f"{SPOKEN}{written.replace('-', '−')}{END}" if written else HOLE


def _chinese(call: TemplateCall, _: str) -> str:
    keys = ("c", "t", "s", "p", "w", "j", "hangul", "hanja", "rr", "l")
    values = [f"‘{call.named[key]}’" if key == "l" else call.named[key] for key in keys if call.named.get(key)]
    return ", ".join(dict.fromkeys([*values, *filter(None, call.positional[:1])]))


def _ship(call: TemplateCall, _: str) -> str:
    if call.name.lower() in ("ship", "schiff", "navire", "bateau", "statek"):
        return " ".join(filter(None, call.positional[:2]))
    number = f" ({call.get(1)})" if call.get(1) else ""
    return f"{call.name} {call.get(0)}{number}" if call.get(0) else call.name


def _rupees(call: TemplateCall, _: str) -> str:
    scale = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion", "l": "lakh", "c": "crore",
             "lc": "lakh crore"}.get(call.get(1), "")  # fmt: skip
    return f"₹{call.get(0)} {scale}".rstrip() if call.get(0) else ""


_CODES = {
    "USD": "US$",
    "US": "US$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "INR": "₹",
    "CNY": "CN¥",
    "AUD": "A$",
    "CAD": "C$",
}


def _money(call: TemplateCall, _: str) -> str:
    amount, code = call.get(0), (call.get(1) or "USD").upper()
    return f"{_CODES.get(code, code + ' ')}{amount}" if amount else ""


def _bible(call: TemplateCall, _: str) -> str:
    """`{{bibleverse||Mark|3:25|KJV}}`: Mark 3:25; `{{bibleverse|1|Kings|2:3}}`: 1 Kings 2:3."""
    given = call.positional[: 2 + (call.get(0) in ("", "1", "2", "3", "4", "I", "II", "III"))]
    return " ".join(filter(None, given))


def _ordinal(call: TemplateCall, _: str) -> str:
    number = call.get(0)
    if not number.isdecimal():
        return number
    teen = number[-2:] in ("11", "12", "13")
    return number + ("th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th"))


def _roman(call: TemplateCall, _: str) -> str:
    text = call.get(0)
    if not text.isdecimal() or not 0 < len(text) < 5 or not 0 < int(text) < 4000:
        return text
    number, written = int(text), ""
    for value, letters in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    ):
        written += letters * (number // value)
        number %= value
    return written


def _height(call: TemplateCall, _: str) -> str:
    return " ".join(f"{call.named[unit]} {unit}" for unit in ("m", "cm", "ft", "in") if call.named.get(unit))


def _formatnum(call: TemplateCall, _: str) -> str:
    number, form = call.get(0), call.get(1).upper()
    if form in ("R", "NOSEP"):
        return number.replace(call.words.thousands, "") if form == "R" else number
    return grouped(number, call.words)


def _case(upper: bool) -> Function:
    def change(call: TemplateCall, which: str) -> str:
        text = call.get(0)
        head, tail = (text[:1], text[1:]) if which == "first" else (text, "")
        return (head.upper() if upper else head.lower()) + tail

    return change


def _if(call: TemplateCall, _: str) -> str:
    return call.get(1) if call.get(0) else call.get(2)


def _ifeq(call: TemplateCall, _: str) -> str:
    return call.get(2) if call.get(0) == call.get(1) else call.get(3)


def _iferror(call: TemplateCall, _: str) -> str:
    return call.get(0)


def _switch(call: TemplateCall, _: str) -> str:
    """The case that equals the first argument, or the default; cases without text share that of the next one."""
    subject = call.get(0)
    if subject.lower() in call.named:
        return call.named[subject.lower()]
    if subject in call.positional[1:]:
        return GAP  # it falls through to a later case, whose place is not known here
    return call.named.get("#default", "") or (call.positional[-1] if len(call.positional) > 1 else "")


_SUM = re.compile(r"\s*(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(?:([+*/-])\s*(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*)?")


def _expr(call: TemplateCall, _: str) -> str:
    """The value of one operation on two numbers; anything longer is a gap."""
    match = _SUM.fullmatch(call.get(0).replace("−", "-"))
    if not match:
        return GAP
    left, right = float(match[1]), float(match[3] or 0)
    if match[2] == "/" and not right:
        return GAP
    results = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else 0.0}
    return f"{results.get(match[2], left):.12g}".replace("-", "−")


def _plural(call: TemplateCall, _: str) -> str:
    forms = call.positional[1:]
    return (forms[0] if call.get(0).strip() in ("1", "−1", "-1") else forms[-1]) if forms else ""


_QUOTED = (
    "text", "texte", "texto", "testo", "quote", "txt", "цитата", "текст", "citat", "tekst", "contenido", "contenu",
    "zitat", "szöveg", "content", 1,
)  # fmt: skip


def _quotation(call: TemplateCall, _: str) -> str:
    text = call.value(_QUOTED)
    return f"\n\n{text}\n\n" if text else ""


def _list(call: TemplateCall, numbered: str) -> str:
    items = [text for text in call.positional if text]
    return "\n" + "\n".join(f"{NUMBER if numbered else BULLET}{text}" for text in items) + "\n" if items else ""


def _stress(call: TemplateCall, _: str) -> str:
    text = call.get(0)
    return text.capitalize() if text.islower() else text


def _music(call: TemplateCall, _: str) -> str:
    return {"sharp": "♯", "#": "♯", "flat": "♭", "b": "♭", "natural": "♮"}.get(call.get(0), GAP)


_ENGLISH_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _as_of(call: TemplateCall, _: str) -> str:
    year, month, day = call.get(0), call.get(1), call.get(2)
    numbered = month.isdecimal() and len(month) < 3 and 1 <= int(month) <= 12
    name = _ENGLISH_MONTHS[int(month) - 1] if numbered else month
    words = "as of" if call.named.get("lc") else "As of"
    return " ".join(filter(None, (words, day, name, year)))


FUNCTIONS: dict[str, Function] = DATES | {
    "measure": _measure,
    "value": _value,
    "quantity": _quantity,
    "atoms": lambda call, _: "".join(map(_atoms, call.positional)),
    "formula": _formula,
    "lowered": lambda call, _: lowered(call.get(0), "x"),
    "raised": lambda call, _: raised(call.get(0), "x"),
    "su": _su,
    "nuclide": _nuclide,
    "fraction": _fraction,
    "root": _root,
    "spoken": _spoken,
    "coordinates": _coordinates,
    "chinese": _chinese,
    "ship": _ship,
    "rupees": _rupees,
    "money": _money,
    "bible": _bible,
    "ordinal": _ordinal,
    "roman": _roman,
    "height": _height,
    "formatnum": _formatnum,
    "lower": _case(upper=False),
    "upper": _case(upper=True),
    "title": lambda call, _: call.title or HOLE,
    "if": _if,
    "ifeq": _ifeq,
    "iferror": _iferror,
    "switch": _switch,
    "expr": _expr,
    "plural": _plural,
    "quotation": _quotation,
    "list": _list,
    "join": lambda call, between: between.join(filter(None, call.positional)),
    "own_name": lambda call, _: call.name,
    "break": lambda call, _: BREAK,
    "stress": _stress,
    "music": _music,
    "as_of": _as_of,
}
"""The functions that patterns name."""
