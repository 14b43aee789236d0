# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest

from puna.data.readers.wikitext import Wiki, to_text


@pytest.mark.parametrize(
    ("language", "wikitext", "expected"),
    [
        ("en", "the {{lang|fr|tour de force}} of", "the tour de force of"),
        ("en", "the {{lang-la|verbum}} of", "the verbum of"),
        ("en", "the {{langx|la|verbum|lit=word}} of", "the verbum of"),
        ("en", "{{transliteration|ar|ALA|kitāb}} is", "kitāb is"),
        ("en", "is {{convert|5|km|mi|abbr=on}} long", "is 5 km long"),
        ("en", "is {{convert|5|to|10|km2}} large", "is 5 to 10 km² large"),
        ("en", "at {{cvt|20|-|25|C}} in", "at 20–25 °C in"),
        ("en", "is {{convert|6|ft|2|in}} tall", "is 6 ft 2 in tall"),
        ("en", "has {{val|1.2|0.3|e=-5|u=kg}} of", "has 1.2±0.3×10⁻⁵ kg of"),
        ("en", "{{formatnum: 12345}} people", "12,345 people"),
        ("en", "{{frac|2|3}}, {{frac|8}}, {{frac|1|2|3}} cups", "2/3, 1/8, 1 2/3 cups"),
        ("en", "1990{{ndash}}2000{{spaced ndash}}a{{nbsp}}b{{snd}}c{{mdash}}d", "1990–2000 – a b – c—d"),
        (
            "en",
            "{{circa|1900}} and {{As of|2010|3|lc=y}} and {{as of|2011}}",
            "c. 1900 and as of March 2010 and As of 2011",
        ),
        ("en", "{{nowrap|at {{lang|de|''Haus''}}}} we", "at Haus we"),
        ("en", "the {{USS|Enterprise|CV-6}} and {{ship|HMS|Victory}}", "the USS Enterprise (CV-6) and HMS Victory"),
        ("en", "by {{ill|Jean Dupont|fr}} or {{ill|A B|de|lt=Mr B}}", "by Jean Dupont or Mr B"),
        ("en", "{{nihongo|Tokyo|東京|Tōkyō}} is", "Tokyo (東京, Tōkyō) is"),
        ("en", "{{chem|SO|4|2-}} and {{chem2|H2O}}", "SO₄²⁻ and H₂O"),
        ("en", "x{{sup|2}} and {{e|6}} and {{math|''x''{{sub|1}}}}", "x² and ×10⁶ and x₁"),
        ("en", "{{abbr|No.|Number}} 5, {{US$|5}}, {{flag|France}}", "No. 5, US$5, France"),
        ("en", "said:\n{{quote|A ''b'' [[c]].|Somebody}}\nThen", "said:\n\nA b c.\n\nThen"),
        ("en", "are:\n{{unbulleted list|one|[[two]]}}", "are:\n\n- one\n- two"),
        ("en", "Of {{PAGENAME}} we", "Of Page we"),
        ("en", "She{{'}}s {{\"'}}x", "She's \"'x"),
        (
            "fr",
            "au {{s|XIX|e}} et au {{s-|V}} et {{-s|II|e}}",
            "au XIXe siècle et au Ve siècle et IIe siècle av. J.-C.",
        ),
        ("fr", "le {{1er}} {{date|14|juillet|1789}} {{XXe siècle}}", "le 1er 14 juillet 1789 XXe siècle"),
        ("fr", "{{unité|5|m|2}} et {{citation|oui}} {{Lien|langue=en|trad=X|fr=Y}}", "5 m² et « oui » Y"),
        ("fr", "en {{lang|en|word}} et {{langue|la|verbum}}", "en word et verbum"),
        ("fr", "{{refnec|Un texte|date=mai}} au {{n°}}5 et {{n°|6}}", "Un texte au no 5 et no 6"),
        ("de", "hat {{FormatNum|3769495}} Menschen, {{Bruch|1|2}} davon", "hat 3.769.495 Menschen, 1/2 davon"),
        ("en", "Thus\n{{block indent|1=a ''b''}}\nand {{xt|so}}", "Thus\n\na b\n\nand so"),
        ("de", '({{enS|word}}) und {{"|Ja}}', "(word) und „Ja“"),
        ("es", "el {{siglo|XIX||s}} y", "el siglo XIX y"),
        ("pt", "no {{séc|XIX}} e", "no século XIX e"),
        ("ca", "al {{segle|XIX}} i", "al segle XIX i"),
        ("it", "di {{M|5|ul=km}} e", "di 5 km e"),
        ("ru", "у {{нп3|Статья|слово|en|Article}} и", "у слово и"),
        ("uk", "({{lang-en|word}}) і", "(word) і"),
        ("en", "the end{{citation needed|date=May 2020}}.", "the end."),
        ("en", "{{Infobox person|name=A|born={{birth date|1900|1|1}}}}\nA was", "A was"),
        ("en", "{{#if:x|yes|no}}A {{DEFAULTSORT:B}}was", "yesA was"),
    ],
)
def test_templates_with_text_leave_no_hole_and_others_no_trace(language, wikitext, expected):
    assert to_text(wikitext, "Page", Wiki(language)) == expected
