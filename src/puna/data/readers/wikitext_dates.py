"""Dates, ages and the lives of people, as the templates of each language write them."""
# ruff: noqa: RUF001, RUF002 (characters that look alike are what these strings are about)

import re
from datetime import date, timedelta

from puna.data.readers.wikitext_marks import GAP
from puna.data.readers.wikitext_patterns import Function, TemplateCall, Words

_ISO = re.compile(r"([0-9]{4})-([0-9]{1,2})(?:-([0-9]{1,2}))?")
_DOTTED = re.compile(r"([0-9]{1,2})[./]([0-9]{1,2})[./]([0-9]{3,4})")
_YEAR = re.compile(r"[0-9]{3,4}")
_NAMED = {
    "y": ("year", "año", "année", "an", "ano", "anno", "jahr", "jaar", "rok", "год", "рік"),
    "m": ("month", "mes", "mois", "mês", "mese", "monat", "maand", "měsíc", "месяц", "місяць"),
    "d": ("day", "día", "jour", "dia", "giorno", "tag", "dag", "den", "день"),
}


def written(words: Words, day: str, month: str, year: str) -> str:
    """A date in a language's own form, of the parts that are there; a month may be a number or a name."""
    day = words.first if day.lstrip("0") == "1" else day.lstrip("0") if day.isdecimal() else day
    name = month
    if month.isdecimal() and len(month) < 3 and 1 <= int(month) <= len(words.months):
        names = words.nominative if words.nominative and not day else words.months
        name = names[int(month) - 1].removeprefix("" if day else "de ").removeprefix("" if day else "d'")
    if not name:
        return " ".join(filter(None, (day, year)))
    if year.isdecimal():
        year = year.lstrip("0")
    form = words.date if day and year else words.month if year else words.day if day else "{m}"
    return form.format(d=day, m=name, y=year)


def _date(call: TemplateCall, _: str) -> str:
    """`{{dni|17|10|1973}}`, `{{birth date|1973|10|17}}`, `{{date-|3 mai 2001}}` and their relatives."""
    words = call.words
    if call.named.get("df", "").startswith("y"):
        words = Words(words.months, date="{d} {m} {y}", month="{m} {y}", day="{d} {m}")
    given = [part for part in call.positional[:4] if not re.fullmatch(r"(?:d|m)f=\w+", part)]
    named = [next((call.named[key] for key in _NAMED[part] if call.named.get(key)), "") for part in "dmy"]
    if any(named) and not any(given):
        return written(words, *named)
    if not any(given):
        return ""
    if len(given) > 1 and given[0].isalpha() and given[1].isdecimal() and len(given[1]) < 3 and len(given) > 2:
        weekday, *given = (*given, "")
        return f"{weekday} {written(words, *given[:3])}"
    first, second, third = (*given[:3], "", "")[:3]
    if match := _ISO.fullmatch(first):
        return written(words, match[3] or "", match[2], match[1])
    if match := _DOTTED.fullmatch(first):
        return written(words, match[1], match[2], match[3])
    if _YEAR.fullmatch(first) and not _YEAR.fullmatch(third):
        return written(words, third if second else "", second, first) if _is_month(second, words) else first
    if not second and not third:
        return first
    if first.isdecimal() or not first:
        if not third and _YEAR.fullmatch(second):
            return written(words, "", first, second) if _is_month(first, words) else f"{first} {second}"
        return written(words, first, second, third) if _is_month(second, words) else first or second
    if first.isalpha() and second.isdecimal() and not third:
        return written(
            words, "" if _YEAR.fullmatch(second) else second, first, second if _YEAR.fullmatch(second) else ""
        )
    return written(words, first, second, third) if re.match(r"[0-9]", first) else first


def _is_month(text: str, words: Words) -> bool:
    return (text.isdecimal() and len(text) < 3 and 1 <= int(text) <= 12) or bool(re.match(r"[^\W\d_]{3}", text))


def _gregorian(day: int, month: int, year: int) -> date | None:
    """The date of our calendar for one of the Julian calendar, from 1500 to 2100; None for one that does not exist."""
    try:
        same = date(year, month, day)
    except ValueError:
        return None
    century = year - (month < 3)
    return same + timedelta(days=century // 100 - century // 400 - 2) if 1500 <= year <= 2100 else None


def _old_style(call: TemplateCall, kind: str) -> str:
    """Dates of both calendars.

    `{{OldStyleDate|February 2|1905|January 20}}` gives both; `{{СС3|5.8.1900}}` gives the old one, and the other is
    computed: 5 [18] августа 1900.
    """
    words = call.words
    if kind == "julian" and (match := _DOTTED.fullmatch(call.get(0))):
        new = _gregorian(int(match[1]), int(match[2]), int(match[3]))
        if new is None:
            return written(words, *match.groups())
        if new.year != int(match[3]):
            return f"{written(words, *match.groups())} [{written(words, str(new.day), str(new.month), str(new.year))}]"
        if new.month == int(match[2]):
            return written(words, f"{match[1].lstrip('0')} [{new.day}]", match[2], match[3])
        other = written(words, str(new.day), str(new.month), "")
        return f"{written(words, match[1], match[2], '')} [{other}] {match[3]}"
    if kind == "julian":
        return " ".join(filter(None, call.positional[:3]))
    new, year, old = call.get(0), call.get(1), call.get(2)
    if kind == "pair":
        same_month = old.isdecimal() and " " in new
        text = (
            f"{old} [{new.partition(' ')[0]}] {new.partition(' ')[2]}"
            if same_month
            else f"{old} [{new}]"
            if old
            else new
        )
        return f"{text} {year}".strip()
    return " ".join(filter(None, (new, f"[O.S. {old}]" if old else "", year)))


def _age(call: TemplateCall, _: str) -> str:
    """Years between two dates; an age today is not known."""
    numbers = [part for part in call.positional[:6] if part.isdecimal() and len(part) < 5]
    if len(numbers) < 6:
        return GAP
    first, last = [int(part) for part in numbers[:3]], [int(part) for part in numbers[3:]]
    if first[0] < 32 < first[2]:  # day, month, year
        first, last = first[::-1], last[::-1]
    return str(last[0] - first[0] - (last[1:] < first[1:]))


def _duration(call: TemplateCall, _: str) -> str:
    units = ("heure", "minute", "seconde") if len(call.positional) > 2 else ("minute", "seconde")
    parts = [
        f"{part} {unit}{'s' if part not in ('0', '1') else ''}"
        for part, unit in zip(call.positional, units, strict=False)
        if part
    ]
    return " ".join(parts)


_DEMANDING = re.compile(r"(?:s[^aeiouàèéìòù]|z|x|y|gn|ps|pn|i[aeiou])", re.IGNORECASE)


_ROMAN = re.compile(r"[IVXLC]+")
_JOINED = {"-": "-", "–": "-", "à": " à ", "au": " au ", "et": " et ", "ou": " ou "}
_ERAS = {"a": " a. C.", "d": " d. C."}


def _centuries(call: TemplateCall, _: str) -> str:
    """French centuries, whatever the order of numerals, their endings and what joins them: XVIIe et XVIIIe siècles."""
    arguments = [argument for argument in call.positional if argument]
    numerals = [place for place, argument in enumerate(arguments) if _ROMAN.fullmatch(argument)]
    endings = [(arguments[place + 1 : place + 2] or ["e"])[0] for place in numerals]
    names = [
        arguments[place] + (ending if ending in ("e", "er") else "e")
        for place, ending in zip(numerals, endings, strict=True)
    ]
    between = next((_JOINED[argument] for argument in arguments if argument in _JOINED), " et ")
    return f"{between.join(names)} {'siècles' if len(names) > 1 else 'siècle'}" if names else ""


def _siglo(call: TemplateCall, _: str) -> str:
    """A Spanish century, whose second argument says whether it was before or after Christ."""
    return f"siglo {call.get(0)}{_ERAS.get(call.get(1).lower(), '')}" if call.get(0) else ""


def _asked(call: TemplateCall, _: str) -> str:
    """The words around which a request stands, such as one for a source; nothing where it has only its own date."""
    text = call.get(0)
    own = {*" ".join((*call.words.months, *call.words.nominative)).lower().split(), "de", "del", "di"}
    return "" if all(word.isdecimal() or word in own for word in re.findall(r"\w+", text.lower())) else text


def _bio(call: TemplateCall, _: str) -> str:
    """The first sentence of a life in the Italian Wikipedia: name, places and dates, what the person is or was."""
    get = {key.replace("_", " "): value for key, value in call.named.items() if value and value != "?"}.get
    name = " ".join(filter(None, (get("titolo"), get("nome"), get("cognome"))))
    name += (
        f", {after}" if (after := get("postcognomevirgola")) else f" {after}" if (after := get("postcognome")) else ""
    )
    if not name:
        return ""
    born, died = (_place_and_date(call, end) for end in ("nascita", "morte"))
    dead = bool(call.named.get("annomorte") or call.named.get("giornomesemorte") or call.named.get("luogomorte"))
    lives = " – ".join(part or "…" for part in ((born, died) if dead and died else (born,))) if born or died else ""
    remark = "; ".join(filter(None, (get("predata"), lives)))
    lead = f"{name} ({remark})" if remark else name
    if end := get("fineincipit"):
        return _sentence(lead, end, call)
    woman = call.named.get("sesso", "").upper() == "F"
    dead = dead or (not born and call.named.get("epoca", "").rstrip("aC. ").isdecimal())
    verb = ("è stata" if woman else "è stato") if dead else "è"
    doing = _activities(call)
    if not doing:
        return f"{lead}\n"
    before = get("preattività") or ""
    nation = " ".join(filter(None, (
        get("nazionalità"),
        f"naturalizzat{'a' if woman else 'o'} {other}" if (other := get("nazionalitànaturalizzato")) else "",
        f"con cittadinanza {other}" if (other := get("cittadinanza")) else "",
    )))  # fmt: skip
    words = f"{before} {doing}".strip()
    return _sentence(lead, f"{verb} {_with_article(words, woman=woman)} {nation}".strip(), call)


def _sentence(lead: str, end: str, call: TemplateCall) -> str:
    after = call.named.get("postnazionalità", "")
    text = f"{lead} {end}{'' if not after or after[0] in ',.;:' else ' '}{after}".rstrip()
    return text if call.named.get("punto", "").lower() == "no" or text.endswith(".") else f"{text}."


def _place_and_date(call: TemplateCall, end: str) -> str:
    named = call.named
    place = named.get(f"luogo{end}", "")
    if other := named.get(f"luogo{end}alt"):
        place = other
    when = " ".join(part for part in (named.get(f"giornomese{end}", ""), named.get(f"anno{end}", "")) if part)
    return ", ".join(part for part in (place, when) if part and part != "?")


def _activities(call: TemplateCall) -> str:
    given = [call.named.get(key, "") for key in ("attività", "attività2", "attività3")]
    given = [text for text in given if text]
    others = call.named.get("attivitàaltre", "")
    if others:
        return ", ".join(given) + ("" if others[0] in ",;" else " ") + others
    return " e ".join(filter(None, (", ".join(given[:-1]), given[-1]))) if given else ""


def _with_article(words: str, *, woman: bool) -> str:
    if woman:
        return f"un'{words}" if words[:1].lower() in "aeiouàèéìòù" else f"una {words}"
    return f"uno {words}" if _DEMANDING.match(words) else f"un {words}"


DATES: dict[str, Function] = {
    "date": _date,
    "old_style": _old_style,
    "age": _age,
    "asked": _asked,
    "centuries": _centuries,
    "siglo": _siglo,
    "duration": _duration,
    "bio": _bio,
}
"""The functions of this module, by the names that patterns use."""
