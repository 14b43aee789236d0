"""The text of templates: words in a foreign language, measures, dates, quotations, characters.

A template's own definition is in another page and may be a program, so it is not expanded; but without these templates
sentences would have holes. They are recognised by their names in the Wikipedias of LLaMA's 20 languages. Every other
template (infoboxes, navigation, references, maintenance) leaves a `HOLE`.
"""
# ruff: noqa: RUF001, RUF002 (characters that look alike are what these strings are about)

import re
from collections.abc import Callable
from dataclasses import dataclass

from puna.data.text.scripts import lowered, raised

HOLE, BULLET, NUMBER, INDENT, TERM, BREAK, STASHED, END, LESS = "\x01\x02\x03\x04\x05\x06\x0e\x0f\x10"
"""Marks that no page holds, since control characters are removed from it first: something was removed here; the line is
an item of a list, of a numbered one, indented, a term; a line ends here within its paragraph; two marks around the
number of a piece that is set aside; a `<` that begins no tag."""


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """The use of a template, its arguments as text."""

    name: str
    """The name as written, without a colon and the part after it."""
    positional: list[str]
    named: dict[str, str]

    def get(self, position: int) -> str:
        """A positional argument, counted from the end if the position is negative; empty if there is none."""
        inside = -len(self.positional) <= position < len(self.positional)
        return self.positional[position] if inside else ""


Expansion = Callable[[TemplateCall], str]


def _argument(position: int, *names: str) -> Expansion:
    def expand(call: TemplateCall) -> str:
        return next((call.named[name] for name in names if call.named.get(name)), "") or call.get(position)

    return expand


def _words(text: str) -> Expansion:
    return lambda call: text


def _around(before: str, after: str = "", position: int = 0) -> Expansion:
    return lambda call: f"{before}{text}{after}" if (text := call.get(position)) else HOLE


def _joined(separator: str, count: int = 9) -> Expansion:
    return lambda call: separator.join(text for text in call.positional[:count] if text) or HOLE


def _own_name(call: TemplateCall) -> str:
    return call.name


def _quotation(call: TemplateCall) -> str:
    text = next((call.named[name] for name in _QUOTED if call.named.get(name)), "") or call.get(0)
    return f"\n\n{text}\n\n"


_QUOTED = ("text", "texte", "texto", "testo", "quote", "txt", "цитата", "текст")


def _list(call: TemplateCall) -> str:
    return "\n" + "\n".join(f"{BULLET}{text}" for text in call.positional if text) + "\n"


def _passage(call: TemplateCall) -> str:
    return f"\n{call.named.get('content') or call.get(0)}\n"


_RANGES = {"-": "–", "–": "–", "to": " to ", "to(-)": " to ", "and": " and ", "or": " or ", "x": " × ", "×": " × ",
           "by": " by ", "+/-": " ± ", "±": " ± "}  # fmt: skip
_UNITS = {"C": "°C", "F": "°F", "sqmi": "sq mi", "sqft": "sq ft", "cuft": "cu ft", "cumi": "cu mi", "acre": "acres",
          "usgal": "US gal", "USgal": "US gal", "impgal": "imp gal",
          "m/s2": "m/s²", "in2": "in²", "in3": "in³"}  # fmt: skip
_POWER = re.compile(r"^([kcdm]?m)([23])$")


def _measure(call: TemplateCall) -> str:
    """`{{convert|5|km|mi}}`: the value and unit as the source gave them; the converted value is a computation."""
    value, *rest = call.positional or [""]
    if len(rest) >= 3 and rest[0] in _RANGES:
        value, rest = f"{value}{_RANGES[rest[0]]}{rest[1]}", rest[2:]
    if not rest:
        return value or HOLE
    text = f"{value} {_unit(rest[0])}"
    if len(rest) >= 3 and rest[0] in ("ft", "st", "lb") and rest[2] in ("in", "lb", "oz"):
        text += f" {rest[1]} {rest[2]}"
    return text


def _unit(name: str) -> str:
    return _UNITS.get(name) or _POWER.sub(lambda match: match[1] + raised(match[2], "m"), name)


def _value(call: TemplateCall) -> str:
    """`{{val|1.2|0.3|e=5|u=kg}}`: 1.2±0.3×10⁵ kg."""
    text = call.get(0)
    if call.get(1):
        text += f"±{call.get(1)}"
    if exponent := call.named.get("e"):
        text += f"×10{raised(exponent, '0')}"
    unit = call.named.get("u") or call.named.get("ul") or call.named.get("um")
    return f"{text} {unit}" if unit else text


def _quantity(call: TemplateCall) -> str:
    """`{{unité|5|m|2}}`: 5 m²."""
    power = raised(call.get(2), "m") if call.get(2).strip("-").isdigit() else ""
    return f"{call.get(0)} {call.get(1)}{power}".strip() or HOLE


def _atoms(text: str) -> str:
    """A part of a formula: a number of atoms, a charge or symbols."""
    if text.isdigit():
        return lowered(text, "H")
    return raised(text, "H") if text.rstrip("+-−–").isdigit() or text in ("+", "-", "−") else text


def _fraction(call: TemplateCall) -> str:
    given = [text for text in call.positional if text]
    if len(given) == 3:
        return f"{given[0]} {given[1]}/{given[2]}"
    return "/".join(given) if len(given) == 2 else f"1/{''.join(given)}"


def _japanese(call: TemplateCall) -> str:
    """`{{nihongo|English|kanji|romaji}}`: English (kanji, romaji)."""
    first, *others = [text for text in call.positional[:3] if text] or [HOLE]
    return f"{first} ({', '.join(others)})" if others else first


def _chinese(call: TemplateCall) -> str:
    values = [call.named.get(key, "") for key in ("c", "t", "s", "p", "hangul", "hanja", "rr")]
    return ", ".join(dict.fromkeys([*filter(None, values), *filter(None, call.positional[:1])])) or HOLE


def _other_language(call: TemplateCall) -> str:
    """A link to an article that only another Wikipedia has: its label, or its title."""
    names = ("lt", "texte", "fr", "label", "vis", "display", "txt")
    return next((call.named[name] for name in names if call.named.get(name)), "") or call.get(0)


def _ship(call: TemplateCall) -> str:
    prefix = "" if call.name.lower() == "ship" else f"{call.name} "
    if not prefix:
        return " ".join(filter(None, call.positional[:2]))
    number = f" ({call.get(1)})" if call.get(1) else ""
    return f"{prefix}{call.get(0)}{number}"


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _as_of(call: TemplateCall) -> str:
    year, month, day = call.get(0), call.get(1), call.get(2)
    name = _MONTHS[int(month) - 1] if month.isdecimal() and len(month) < 3 and 1 <= int(month) <= 12 else month
    words = "as of" if call.named.get("lc") else "As of"
    return " ".join(filter(None, (words, day, name, year)))


def _century(before: str, after: str) -> Expansion:
    def expand(call: TemplateCall) -> str:
        ending = call.get(1) or "e" if after else ""
        return f"{before}{call.get(0)}{ending}{after}"

    return expand


def _group(names: str, expansion: Expansion) -> dict[str, Expansion]:
    return dict.fromkeys((name.replace("_", " ") for name in names.split()), expansion)


_EVERYWHERE: dict[str, Expansion] = (
    _group(
        "nowrap nobr nobreak no_wrap nobold noitalic no_italic normal small smaller big bigger larger large em strong "
        "b bold italic italics u uline underline overline strikethrough strike abbr tooltip mvar math var bigmath sc "
        "smallcaps small_caps smallcaps_all allcaps versalita versalitas angbr keypress key kbd code mono samp char "
        "unicode polytonic script sic proper_name not_a_typo typo as_written visible_anchor vanchor "
        "citation_needed_span cn-span clarify_span dfn midsize nts number_table_sorting flag flagcountry flagu country "
        "section_link slink linktext nowraplinks gaps comment lang-latn ipa api fmtn formatnum: lc: uc: lcfirst: "
        "ucfirst: число num nobr_begin transl. noflag q inlinequote tq zwnj term vr "
        "railgauge track_gauge xt tmath formatnum",
        _argument(0, "text"),
    )
    | _group("font color colour resize font_color background_color background transl transliteration translit rtl",
             _argument(-1, "text"))
    | _group("lang langue langx rtl-lang wikt-lang lang_unset langr", _argument(1, "text", "texte", "текст"))
    | _group("convert cvt konvert pretvori converti", _measure)
    | _group("val valeur", _value)
    | _group("unité unite unitat unitats unidad nombre unita nb unité/2", _quantity)
    | _group("frac fraction sfrac fract", _fraction)
    | _group("nihongo nihongo2 nihongo3 japonais", _japanese)
    | _group("zh lang-zh korean lang-ko zh-hans zh-hant", _chinese)
    | _group("ill illm interlanguage_link interlanguage_link_multi link-interwiki lien ilm", _other_language)
    | _group("ship uss hms hmas hmcs hmnzs ss ms mv rms sms ins usns", _ship)
    | _group("as_of asof", _as_of)
    | _group("circa ca c.", _around("c. "))
    | _group("floruit fl.", _around("fl. "))
    | _group("reign r.", lambda call: "r. " + "–".join(filter(None, call.positional[:2])))
    | _group("us$ usd", _around("US$"))
    | _group("gbp £", _around("£"))
    | _group("euro eur €", _around("€"))
    | _group("inr indian_rupee indianrupee", _around("₹"))
    | _group("a$ aud", _around("A$"))
    | _group("c$ cad", _around("C$"))
    | _group("chem chem2", lambda call: "".join(map(_atoms, call.positional)))
    | _group("carbon", lambda call: f"C{_atoms(call.get(0))}")
    | _group("hydrogen", lambda call: f"H{_atoms(call.get(0))}")
    | _group("eqm", _words("⇌"))
    | _group("sup", lambda call: raised(call.get(0), "x"))
    | _group("sub", lambda call: lowered(call.get(0), "x"))
    | _group("bibleverse bibleref bibleref2", _joined(" ", 2))
    | _group("sclass sclass2 sclass-", lambda call: f"{call.get(0)}-class {call.get(1)}")
    | _group("quote blockquote quotation cquote bq poemquote poem_quote quote_block verse_translation zitat cita "
             "citação citacao citazione cytat citát citat citaat idézet цитата цитат citació citation_bloc quote_poem",
             _quotation)
    | _group("unbulleted_list ubl bulleted_list blist ordered_list hlist", _list)
    | _group("plainlist flatlist columns-list columnslist div_col_list block_indent", _passage)
    | _group("nbsp nnbsp thinsp thin_space hairsp spaces space 0 emsp ensp", _words(" "))
    | _group("ndash en_dash en-dash –", _words("–"))
    | _group("ndashb", _words(" – "))
    | _group("snd spaced_ndash spnd spaced_en_dash spndash", _words(" – "))
    | _group("mdash mdashb em_dash em-dash —", _words("—"))
    | _group("spaced_mdash spaced_em_dash smd", _words(" — "))
    | _group("dot middot · bullet • dot. ·w", _words(" · "))
    | _group("' apostrophe", _words("'"))
    | {"' \"": _words("' \""), '" \'': _words('" \''), "-'": _words("'"), '-"': _words('"'), "'\"": _words("'\"")}
    | _group("'s", _words("'s"))
    | _group("= equals", _words("="))
    | _group("! pipe", _words("|"))
    | _group("*", _words("•"))
    | _group("okina ʻokina", _words("ʻ"))
    | _group("deg degree", lambda call: f"{call.get(0)}°")
    | _group("minus", _words("−"))
    | _group("times ×", _words("×"))
    | _group("crlf br break clear_line paragraph_break pb", _words(BREAK))
)  # fmt: skip

_BY_LANGUAGE: dict[str, dict[str, Expansion]] = {
    "en": _group("e", lambda call: f"×10{raised(call.get(0), '0')}")
    | {"music": lambda call: {"sharp": "♯", "flat": "♭", "natural": "♮"}.get(call.get(0), HOLE)},
    "fr": _group("s", _century("", " siècle"))
    | _group("s- s2- -s-", _century("", " siècle"))
    | _group("-s", _century("", " siècle av. J.-C."))
    | _group("date date- date_de_naissance date_de_décès", _joined(" ", 3))
    | _group("citation guillemets citation_étrangère", _around("« ", " »"))
    | _group("incise", _around("– ", " –"))
    | _group("av_jc", _words("av. J.-C."))
    | _group("ap_jc", _words("apr. J.-C."))
    | _group("heure", _joined(" h ", 2))
    | _group("e er re", _own_name)
    | _group("n° numéro nº", lambda call: f"no {call.get(0)}")
    | _group("refnec référence_nécessaire référence_souhaitée pas_clair quoi passage_promotionnel", _argument(0))
    | _group("p. vol. m. mme mlle dr st", lambda call: f"{call.name} {call.get(0)}".strip())
    | _group("exp", lambda call: raised(call.get(0), "x")),
    "es": _group("siglo", _century("siglo ", "")) | _group("ac", _words("a. C.")) | _group("dc", _words("d. C.")),
    "pt": _group("séc século", _century("século ", "")) | _group("ac", _words("a.C.")) | _group("dc", _words("d.C.")),
    "ca": _group("segle", _century("segle ", "")),
    "it": _group("m", lambda call: f"{call.get(0)} {call.named.get('ul') or call.get(1)}".strip()),
    "de": {'"': _around("„", "“")}
    | _group("höhe", _around("", " m"))
    | _group("bruch", _fraction)
    | _group("person", lambda call: " ".join(filter(None, call.positional[:2]))),
    "ru": _group("нп нп1 нп2 нп3 нп4 нп5 не_переведено не_переведено_2 не_переведено_3 не_переведено_5 iw",
                 lambda call: call.get(1) or call.get(0))
    | _group("s nobr", _argument(0))
    | _group("уд ударение", lambda call: call.get(0).capitalize() if call.get(0).islower() else call.get(0)),
    "uk": _group("нп нп3 нп5 не_перекладено iw", lambda call: call.get(1) or call.get(0)),
}  # fmt: skip

_FOREIGN = re.compile(r"lang-[a-z-]{2,12}|[a-z]{2,3}S", re.ASCII)
"""`{{lang-fr|oui}}`, and the German `{{frS|oui}}`."""
_ORDINAL = re.compile(r"[IVXLC]+(?:e|er|re)(?: siècle)?|\d+(?:e|er|re|°)")
"""French: the template is its own text."""


def expansion(name: str, language: str) -> Expansion | None:
    """The function that makes a template's text; None for a template without text.

    Args:
        name: The name as written between the braces, with a parser function's `:` and the part after it.
        language: The language of the Wikipedia.
    """
    name = name.strip().replace("_", " ")
    lower = name.lower()
    if ":" in lower:
        lower = lower[: lower.index(":") + 1]
    found = _BY_LANGUAGE.get(language, {}).get(lower) or _EVERYWHERE.get(lower)
    if found or ":" in lower:
        return found
    if _FOREIGN.fullmatch(name):
        return _argument(0, "text")
    return _own_name if language == "fr" and _ORDINAL.fullmatch(name) else None
