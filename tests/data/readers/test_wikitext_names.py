import pytest

from puna.data.readers import wikitext_names as names

LANGUAGES = {
    "bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv",
    "uk",
}  # fmt: skip
"""LLaMA, section 2.1."""


def test_names_are_written_as_they_are_looked_up():
    for group in (names.HIDDEN_NAMESPACES, names.PROJECTS, names.LANGUAGES, names.APPARATUS, names.PERHAPS_APPARATUS):
        assert all(name == name.strip().lower() and " ".join(name.split()) == name for name in group)


def test_no_title_is_both_certain_and_doubtful():
    assert not names.APPARATUS & names.PERHAPS_APPARATUS


def test_the_languages_of_llama_are_languages_and_no_other_project_is():
    assert LANGUAGES <= names.LANGUAGES
    assert not names.LANGUAGES & names.PROJECTS
    assert not names.LANGUAGES & names.HIDDEN_NAMESPACES


@pytest.mark.parametrize(
    "title",
    [
        "източници и бележки", "enllaços externs", "externí odkazy", "se også", "weblinks", "see also", "véase también",
        "notes et références", "vanjske poveznice", "jegyzetek", "collegamenti esterni", "zie ook", "przypisy",
        "ligações externas", "legături externe", "примечания", "glej tudi", "спољашње везе", "externa länkar",
        "посилання",
    ],
)  # fmt: skip
def test_every_language_has_its_titles_of_reference_sections(title):
    assert title in names.APPARATUS
