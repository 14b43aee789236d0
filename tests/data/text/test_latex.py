import pytest
from growth import assert_in_proportion
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.text.latex import read_paper


def paper_text(files: dict[str, bytes]) -> str:
    return read_paper(files).text


def paper(text: str, preamble: str = "") -> str:
    source = f"\\documentclass{{article}}\n{preamble}\\begin{{document}}\n{text}\n\\end{{document}}\n"
    return paper_text({"main.tex": source.encode()})


def test_text_begins_at_the_first_section_and_the_abstract_goes_as_the_paper_says() -> None:
    assert (
        paper("\\title{T}\\maketitle\\begin{abstract}A\\end{abstract}\n\\section{One}\nText.")
        == "\\section{One}\nText."
    )


# The defects of the reference's cleaner, by name (research on RedPajama v1, arxiv_cleaner.py).


@pytest.mark.parametrize(
    "header",
    [
        "part",
        "chapter",
        "section",
        "subsection",
        "subsubsection",
        "paragraph",
        "subparagraph",
        "section*",
        "paragraph*",
    ],
)
def test_any_header_alone_is_enough(header: str) -> None:
    assert paper(f"Before.\n\\{header}{{Only}} Text.") == f"\\{header}{{Only}} Text."


def test_a_file_without_a_header_that_is_taken_in_is_kept() -> None:
    main = "\\documentclass{a}\\begin{document}\\section{One}\n\\input{part}\n\\end{document}"
    assert paper_text({"main.tex": main.encode(), "part.tex": b"No header here."}) == "\\section{One}\nNo header here."


def test_a_comment_behind_a_word_takes_no_letter_of_it() -> None:
    assert paper("\\section{One}\nA word% note\n\nNext.") == "\\section{One}\nA word\n\nNext."


def test_a_macro_whose_definition_is_followed_by_a_comment_is_expanded() -> None:
    assert paper("\\section{One}\n$\\R$", "\\newcommand{\\R}{\\mathbb{R}} % reals\n") == "\\section{One}\n$\\mathbb{R}$"


def test_macros_with_arguments_are_expanded() -> None:
    assert paper("\\section{One}\n$\\n{x}$", "\\newcommand{\\n}[1]{\\|#1\\|}\n") == "\\section{One}\n$\\|x\\|$"


def test_a_paper_without_any_header_keeps_its_body() -> None:
    letter = "\\title{T}\\author{A\\thanks{B}}\n\\maketitle\nDear editor, this is a letter."
    assert paper(letter) == "Dear editor, this is a letter."


def test_a_file_that_is_not_utf_8_does_not_drop_the_paper() -> None:
    main = "\\documentclass{a}\\begin{document}\\section{One}\nna\u00efve \\input{b}\n\\end{document}"
    assert (
        paper_text({"main.tex": main.encode("latin-1"), "b.tex": "na\u00efve".encode()})
        == "\\section{One}\nna\u00efve na\u00efve"
    )


def test_appendices_stay_and_the_bibliography_goes() -> None:
    references = "\\begin{thebibliography}{9}\n\\bibitem{a} A.\n\\end{thebibliography}"
    text = f"\\section{{One}}\nText.\n{references}\n\\appendix\n\\section{{More}}\nX."
    assert paper(text) == "\\section{One}\nText.\n\n\\appendix\n\\section{More}\nX."


# What the reference does not do at all.


@pytest.mark.parametrize(
    "bibliography",
    [
        "\\bibliographystyle{plain}\\bibliography{refs}",
        "\\printbibliography[title={Refs}]",
        "\\begin{thebibliography}{9}\\bibitem{a} never ends",
        "\\section*{References}\n[1] A.",
        "\\section*{\\normalsize\\bf References}\n\\begin{enumerate}\\item A\\end{enumerate}",
        "\\begin{references}\\reference A\\end{references}",
    ],
)
def test_every_kind_of_bibliography_is_cut(bibliography: str) -> None:
    text = paper(f"\\section{{One}}\nText.\n{bibliography}\n\\appendix\nX.")
    assert text.split() == ["\\section{One}", "Text.", "\\appendix", "X."]


def test_sections_about_references_are_not_lists_of_them() -> None:
    text = "\\section{References to time}\nText.\n\\section{Literature review}\nMore."
    assert paper(text) == text


def test_a_letter_that_ends_with_thanks_keeps_what_is_before() -> None:
    assert (
        paper("\\maketitle\nText.\n\\section*{Acknowledgments}\nWe thank.")
        == "Text.\n\\section*{Acknowledgments}\nWe thank."
    )


def test_sections_that_users_macros_make_are_found() -> None:
    assert paper("Front.\\sect{One}Text.", "\\newcommand{\\sect}[1]{\\section{#1}}\n") == "\\section{One}Text."


def test_verbatim_text_is_not_touched() -> None:
    code = "\\begin{verbatim}\n\\R % 50%\n\n\n\n  x   \n\\end{verbatim}"
    assert paper(f"\\section{{One}}\n{code}\n$\\R$", "\\def\\R{r}\n") == f"\\section{{One}}\n{code}\n$r$"


def test_plain_tex_is_read_to_its_end() -> None:
    source = "\\magnification=1200\n\\def\\R{{\\bf R}}\nPlain $\\R$ text. % note\n\\bye\nGone."
    assert paper_text({"9901001": source.encode()}) == "\\magnification=1200\nPlain ${\\bf R}$ text."


def test_what_follows_the_document_is_not_its_text() -> None:
    assert paper("\\section{One}\nText.\\end{document}\nGone.") == "\\section{One}\nText."


def test_no_tex_is_not_text() -> None:
    assert paper_text({}) == paper_text({"a.txt": b"hello"}) == ""


@given(
    st.lists(
        st.sampled_from(
            ["\\section{", "}", "{", "\\begin{document}", "\\documentclass{a}", "\\end{document}", "\\bibliography{",
             "%", "\n", "\\newcommand{\\x}[1]", "\\x", "[", "]", "\\begin{thebibliography}", "\\begin{verbatim}",
             "\\end{verbatim}", "\\iffalse", "\\fi", "\\else", "\\verb|", "\\input{main}", "\\def", "\\let", "#1",
             "a", "\0", "1"]
        )
    )
)  # fmt: skip
@settings(max_examples=300)
def test_any_source_gives_text_that_may_be_in_a_document(pieces: list[str]) -> None:
    text = paper_text({"main.tex": "".join(pieces).encode()})
    assert text == text.rstrip()
    assert "\0" not in text
    assert "\r" not in text
    text.encode()


@given(st.dictionaries(st.text(max_size=8), st.binary(max_size=40), max_size=3))
def test_any_files_are_read(files: dict[str, bytes]) -> None:
    paper_text(files)


@pytest.mark.parametrize(
    "piece",
    ["\\bibliography{", "\\begin{thebibliography}", "\\section{References}", "\\section{\\a ", "\\iftrue ", "\\verb",
     "%\n", "\\begin{verbatim}", "\\title{", "\\input{main}", "\\section[", "   ", "\t",
     "\\begin{thebibliography}\\section{x}"],
)  # fmt: skip
def test_hostile_source_costs_time_in_proportion(piece: str) -> None:
    assert_in_proportion(lambda size: paper(piece * size + "x"), 8000)
