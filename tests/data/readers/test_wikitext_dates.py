# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest

from puna.data.readers.wikitext import Wiki, to_text


@pytest.mark.parametrize(
    ("language", "wikitext", "expected"),
    [
        ("bg", "Той е {{роден на|17|10|1973}} тук", "Той е 17 октомври 1973 г. тук"),
        ("ca", "nat el {{data naixement|1973|10|7}} i {{data|1|4|1990}}",
         "nat el 7 d'octubre de 1973 i 1r d'abril de 1990"),
        ("cs", "narozen {{datum narození a věk|1973|10|17}}", "narozen 17. října 1973"),
        ("da", "født {{Dato|17|10|1973}}", "født 17. oktober 1973"),
        ("de", "am {{Datum|17|10|1973}} geboren", "am 17. Oktober 1973 geboren"),
        ("en", "on {{birth date and age|1973|10|17}} and {{dts|1990-05-01}}", "on October 17, 1973 and May 1, 1990"),
        ("en", "on {{Start date|1973|10|17|df=y}} in {{start date|1973|10}} or {{start date|1973}}",
         "on 17 October 1973 in October 1973 or 1973"),
        ("es", "el {{fecha|17|10|1973}} y en {{fecha||10|1973}}", "el 17 de octubre de 1973 y en octubre de 1973"),
        ("fr", "né le {{date de naissance-|17|octobre|1973}} et mort le {{date de décès-|3 mai 2001}}",
         "né le 17 octobre 1973 et mort le 3 mai 2001"),
        ("fr", "le {{date|1|1|1900|en musique}}, {{date|jour=2|mois=mai|année=1950}} ou en {{date||mai|2001}}",
         "le 1er janvier 1900, 2 mai 1950 ou en mai 2001"),
        ("fr", "mort le {{date de décès|3|mai|2001|17|octobre|1973}} à", "mort le 3 mai 2001 à"),
        ("hr", "rođen {{datum rođenja|17|10|1973}}", "rođen 17. listopada 1973."),
        ("hu", "született {{születési dátum|1973|10|17}}", "született 1973. október 17."),
        ("it", "il {{Data|1|5|1990}}", "il 1º maggio 1990"),
        ("nl", "op {{geboortedatum|17|10|1973}}", "op 17 oktober 1973"),
        ("pl", "dnia {{data|1973-10-17}}", "dnia 17 października 1973"),
        ("pt", "João ({{dni|17|10|1973|si}}, [[Lisboa]])", "João (17 de outubro de 1973, Lisboa)"),
        ("pt", "em {{morte|2|3|2001|17|10|1973}} e {{dtext|1|janeiro|1950}}",
         "em 2 de março de 2001 e 1 de janeiro de 1950"),
        ("ro", "pe {{Data nașterii și vârsta|1973|10|17}}", "pe 17 octombrie 1973"),
        ("ru", "({{ДР|17|10|1973}}, [[Москва]] — {{дата смерти|1|2|2001}})",
         "(17 октября 1973, Москва — 1 февраля 2001)"),
        ("sl", "rojen {{datum rojstva|1973|10|17}}", "rojen 17. oktober 1973"),
        ("sr", "рођен {{датум рођења|17|10|1973}}", "рођен 17. октобар 1973."),
        ("sv", "den {{födelsedatum och ålder|1973|10|17}}", "den 17 oktober 1973"),
        ("uk", "({{ДН|17|10|1973}} — {{дата смерті|1|2|2001}})", "(17 жовтня 1973 — 1 лютого 2001)"),
    ],
)  # fmt: skip
def test_dates_are_written_as_each_language_writes_them(language, wikitext, expected):
    assert to_text(wikitext, "Page", Wiki(language)) == expected


@pytest.mark.parametrize(
    ("language", "wikitext", "expected"),
    [
        ("en", "on {{OldStyleDate|February 2|1905|January 20}} he", "on February 2 [O.S. January 20] 1905 he"),
        ("ru", "({{СС3|27.1.1834}})", "(27 января [8 февраля] 1834)"),
        ("ru", "({{СС3|8.4.1765}})", "(8 [19] апреля 1765)"),
        ("ru", "({{СС3|25.12.1900}})", "(25 декабря 1900 [7 января 1901])"),
        ("ru", "({{OldStyleDate|6 июня|1799|26 мая}})", "(26 мая [6 июня] 1799)"),
        ("ru", "({{OldStyleDate|14 января|1900|2}})", "(2 [14] января 1900)"),
        ("ru", "({{СС3|30.2.1700}})", "(30 февраля 1700)"),
        ("uk", "({{OldStyleDate|10 липня|1856|28 червня}})", "(28 червня [10 липня] 1856)"),
    ],
)
def test_dates_of_both_calendars(language, wikitext, expected):
    assert to_text(wikitext, "Page", Wiki(language)) == expected


def test_an_age_between_two_dates_is_computed_and_one_of_today_is_not_known():
    assert to_text("Died aged {{age|1900|5|2|1950|5|1}}. So.", "Page", Wiki("en")) == "Died aged 49. So."
    assert to_text("She is {{age|1900|5|2}} years. So.", "Page", Wiki("en")) == "So."
    assert to_text("({{edad|2|5|1900|1|5|1950}} años)", "Page", Wiki("es")) == "(49 años)"


BIO = """{{Bio
|Nome = Mario
|Cognome = Rossi
|Sesso = M
|LuogoNascita = Roma
|LuogoNascitaLink = Roma (x)
|GiornoMeseNascita = 1º gennaio
|AnnoNascita = 1950
|LuogoMorte = Milano
|GiornoMeseMorte = 2 febbraio
|AnnoMorte = 2000<ref>x</ref>
|Attività = calciatore
|Attività2 = allenatore
|Nazionalità = italiano
|PostNazionalità = , di ruolo [[difensore]]
|Categorie = no
}}
Era alto."""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Mario Rossi (Roma, 1º gennaio 1950 – Milano, 2 febbraio 2000) è stato un calciatore e allenatore "
         "italiano, "
         "di ruolo difensore."),
        ({"LuogoMorte": "", "GiornoMeseMorte": "", "AnnoMorte": "", "PostNazionalità": ""},
         "Mario Rossi (Roma, 1º gennaio 1950) è un calciatore e allenatore italiano."),
        ({"Nome": "Anna", "Sesso": "F", "Attività": "attrice", "Attività2": "cantante", "Attività3": "regista",
          "Nazionalità": "italiana", "NazionalitàNaturalizzato": "francese", "PostNazionalità": "nota per x"},
         "Anna Rossi (Roma, 1º gennaio 1950 – Milano, 2 febbraio 2000) è stata un'attrice, cantante e regista italiana "
         "naturalizzata francese nota per x."),
        ({"Attività": "scrittore", "AttivitàAltre": "e poeta", "Attività2": "", "Titolo": "Sir",
         "PostCognomeVirgola": "detto X",
          "PreData": "''Y''"},
         "Sir Mario Rossi, detto X (Y; Roma, 1º gennaio 1950 – Milano, 2 febbraio 2000) è stato uno scrittore e "
         "poeta italiano, "
         "di ruolo difensore."),
        ({"FineIncipit": "è un personaggio", "PostNazionalità": "", "LuogoNascita": "", "GiornoMeseNascita": "",
          "AnnoNascita": "", "LuogoMorte": "", "GiornoMeseMorte": "", "AnnoMorte": "", "Punto": "no"},
         "Mario Rossi è un personaggio"),
    ],
)  # fmt: skip
def test_a_life_in_the_italian_wikipedia_begins_with_its_sentence(changes, expected):
    bio = BIO
    for name, value in changes.items():
        line = f"|{name} = {value}\n"
        start = bio.find(f"|{name} = ")
        bio = (
            bio[:start] + line + bio[bio.index("\n", start) + 1 :] if start >= 0 else bio.replace("|Cat", line + "|Cat")
        )
    assert to_text(bio, "Page", Wiki("it")) == f"{expected} Era alto."
