# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest

from puna.data.readers.wikitext import Wiki, to_text


@pytest.mark.parametrize(
    ("language", "wikitext", "expected"),
    [
        ("en", "is 2{{pi}}r and {{sqrt|2}}, {{radic|x + 1|3}}, {{sfrac|1|2}}", "is 2πr and √2, ³√(x + 1), 1/2"),
        ("en", "{{math|''a''{{sup|2}}}} and {{su|p=2|b=1}} and {{abs|x}}", "a² and ₁² and |x|"),
        ("en", "{{CO2}}, {{chem2|SO4(2-)}}, {{chem2|Ca(OH)2}}, {{chem|SO|4|2-}}, {{nuclide|C|14}}, "
         "{{nuclide|carbon|14}}",
         "CO₂, SO₄²⁻, Ca(OH)₂, SO₄²⁻, ¹⁴C, carbon-14"),
        ("en", "{{IAST|Gītā}}, {{tlit|ja|kaze}}, {{gloss|wind}}, {{lang|ja|風}}, {{ivrit|x}}, {{angbr|a}}",
         "Gītā, kaze, ‘wind’, 風, x, ⟨a⟩"),
        ("en", "by {{¥|5 billion}}, {{GBP|5}}, {{INRConvert|5|c}}, {{currency|7|EUR}}",
         "by ¥5 billion, £5, ₹5 crore, €7"),
        ("en", "{{convert|60|and|80|kg}}, {{convert|10|x|20|ft}}, {{convert|3|by|4|by|5|m}}, {{cvt|22|e6acre}}",
         "60 and 80 kg, 10 × 20 ft, 3 by 4 by 5 m, 22×10⁶ acres"),
        ("en", "{{convert|5|+/-|1|km}}, {{convert|9|st|7|lb}}, {{convert|1500|mi}}, {{convert|-27|F}}, "
         "{{convert|5|km2}}",
         "5 ± 1 km, 9 st 7 lb, 1,500 mi, −27 °F, 5 km²"),
        ("en", "{{val|1.5|+0.1|-0.2|u=km|up=s}}, {{val|5|e=3}}", "1.5+0.1−0.2 km/s, 5×10³"),
        ("fr", "{{unité|1500|km|s|-1}}, {{nombre|12345|habitants}}, {{formatnum:1234567.5}}",
         "1 500 km s⁻¹, 12 345 habitants, 1 234 567,5"),
        ("pl", "{{formatnum:1234}} i {{formatnum:12345}}", "1234 i 12 345"),
        ("en", "{{ordinal|21}}, {{ordinal|112}}, {{Roman|1984}}, {{height|m=1.80}}", "21st, 112th, MCMLXXXIV, 1.80 m"),
        ("en", "{{#ifeq:a|a|yes|no}}, {{#switch:b|a=1|b=2}}, {{#expr: 3*4}}, {{plural:1|day|days}}, {{uc:a}}",
         "yes, 2, 12, day, A"),
        ("en", "{{#switch:c|a=1|#default=3}}, {{PAGENAME}}, {{lcfirst:AB}}, {{subst:nowrap|a}}, {{Template:nowrap|b}}",
         "3, Page, aB, a, b"),
        ("en", "the sound {{IPA|/a/}} and {{IPAc-en|uk|ˈ|æ|b}} (in French: {{IPA-fr|a|lang}}) is",
         "the sound /a/ and /ˈæb/ is"),
        ("en", "at {{coord|13|19|N|169|9|W}} in the sea ({{coord|1|2}}).{{coord|1|2|display=title}}",
         "at 13°19′N 169°9′W in the sea."),
        ("en", "{{bibleverse||Mark|3:25|KJV}}, {{bibleverse|1|Kings|2:3}}, {{bibleverse|Mark|3:25|9}}",
         "Mark 3:25, 1 Kings 2:3, Mark 3:25"),
        ("ru", "({{lang-en|word}}; {{s|XIX}} {{уд|слово}})", "(word; XIX Слово)"),
        ("en", "{{ No_wrap\n| a }} and {{NOWRAP|b}}", "a and b"),
        ("en", "{{#expr: 3*4+1}} is it. End.", "End."),
        ("en", "In {{CURRENTYEAR}} was it. End.", "End."),
    ],
)  # fmt: skip
def test_templates_give_the_words_that_a_page_shows(language, wikitext, expected):
    assert to_text(wikitext, "Page", Wiki(language)) == expected
