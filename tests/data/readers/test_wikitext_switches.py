# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest

from puna.data.readers.wikitext_switches import INSENSITIVE_SWITCHES, REDIRECT, SWITCHES


def test_switches_have_the_names_of_the_languages():
    names = ["NOTOC", "KEIN_INHALTSVERZEICHNIS", "AUCUNSOMMAIRE", "БЕЗ_ОГЛАВЛЕНИЯ", "БЕЗ_ЗМІСТУ", "SEMTDC", "BEZSPISU",
             "NINCSTARTALOMJEGYZÉK", "INGENINNEHÅLLSFÖRTECKNING", "БЕЗСЪДЪРЖАНИЕ", "BREZKAZALAVSEBINE",
         "FARACUPRINS"]  # fmt: skip
    assert {f"__{name}__" for name in names} <= INSENSITIVE_SWITCHES < SWITCHES
    assert "__INDEX__" in SWITCHES - INSENSITIVE_SWITCHES


@pytest.mark.parametrize(
    "text",
    ["#REDIRECT [[A]]", "#redirect:[[A]]", " #Weiterleitung [[A]]", "#REDIRECTION[[A]]", "#перенаправление [[A]]",
         "#ПЕРЕНАПР [[A]]",
     "#RINVIA [[A]]", "#TAM [[A]]", "#PATRZ [[A]]", "#OMDIRIGERING [[A]]", "#ÁTIRÁNYÍTÁS [[A]]",
         "#DOORVERWIJZING [[A]]",
     "#REDIRECIONAMENTO [[A]]", "#преусмери [[A]]", "#PREUSMERITEV [[A]]", "#PREUSMJERI [[A]]", "#REDIRECTEAZA [[A]]",
     "#PŘESMĚRUJ [[A]]", "#REDIRECCIÓN [[A]]", "#REDIRECCIÓ [[A]]", "#виж [[A]]", "#ПЕРЕНАПРАВЛЕННЯ [[A]]"],
)  # fmt: skip
def test_redirects_are_known_in_every_language(text):
    assert REDIRECT.match(text)


@pytest.mark.parametrize("text", ["# redirect", "#redirect A", "A #REDIRECT [[B]]", "#[[A]]"])
def test_other_pages_are_not_redirects(text):
    assert not REDIRECT.match(text)
