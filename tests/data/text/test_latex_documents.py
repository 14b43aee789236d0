import pytest

from puna.data.text.latex import read_paper

PROSE = " ".join(f"Sentence number {n} of a paper that has its own words." for n in range(30))
OTHER = " ".join(f"The supplement says in place {n} what nobody asked." for n in range(60))


def document(text: str, of_class: str = "article") -> bytes:
    return f"\\documentclass{{{of_class}}}\n\\begin{{document}}\n{text}\n\\end{{document}}\n".encode()


@pytest.mark.parametrize(
    "names",
    [("main.tex", "supplement.tex"), ("ms.tex", "SI.tex"), ("paper.tex", "appendix.tex"), ("a/z.tex", "a/supp_mat.tex"),
     ("zpaper.tex", "SupplementalMaterial.tex"), ("article-aps.tex", "article-aps_SM.tex")],
)  # fmt: skip
def test_the_paper_comes_first_and_its_supplement_after_it_however_long_it_is(names: tuple[str, str]) -> None:
    found = read_paper({names[1]: document(f"\\section{{S}}\n{OTHER}"), names[0]: document(f"\\section{{P}}\n{PROSE}")})
    assert found.text == f"\\section{{P}}\n{PROSE}\n\n\\section{{S}}\n{OTHER}"
    assert found.lost == {}


def test_further_documents_come_in_the_order_of_their_names() -> None:
    files = {f"{name}.tex": document(f"{name} {OTHER[::step]}") for name, step in (("b2", 3), ("b1", 5), ("c", 1))}
    assert [part.split()[0] for part in read_paper(files).text.split("\n\n")] == ["c", "b1", "b2"]


def test_documents_of_plain_tex_are_all_kept() -> None:
    files = {"paper.tex": f"{PROSE}\\bye".encode(), "figures.tex": f"{OTHER}\\bye".encode()}
    assert read_paper(files).text in (f"{PROSE}\n\n{OTHER}", f"{OTHER}\n\n{PROSE}")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("sample.tex", document(OTHER), "sample"),
        ("acmart/samples/sigconf.tex", document(OTHER), "sample"),
        ("elsarticle-template-num.tex", document(OTHER), "sample"),
        ("bare_jrnl.tex", document(OTHER), "sample"),
        ("x.tex", document("\\lipsum[1-9] " + OTHER), "sample"),
        ("response.tex", document(OTHER), "letter"),
        ("reply_to_referees.tex", document(OTHER), "letter"),
        ("x.tex", document(OTHER, "letter"), "letter"),
        ("talk.tex", document(OTHER, "beamer"), "slides"),
        ("fig1.tex", document(OTHER, "standalone"), "figure"),
        ("main_v1.tex", document(PROSE), "version"),
        ("main_old.tex", document(PROSE + " " + PROSE[:500]), "version"),
        ("x.tex", document("\\DIFaddbegin " + OTHER), "version"),
        ("notes.tex", OTHER.encode(), "unused"),
    ],
)
def test_what_is_not_of_the_paper_is_left_out_and_counted(name: str, content: bytes, kind: str) -> None:
    found = read_paper({"main.tex": document(PROSE), name: content})
    assert found.text == PROSE
    assert {key: parts for key, (parts, _) in found.lost.items()} == {kind: 1}
    assert found.lost[kind][1] > 0


@pytest.mark.parametrize("name", ["template.tex", "neurips_2023.tex", "sample-sigconf.tex", "reply.tex", "old.tex"])
def test_a_paper_written_into_a_template_is_the_paper(name: str) -> None:
    assert read_paper({name: document(PROSE)}).text == PROSE


@pytest.mark.parametrize("name", ["template.tex", "sample631.tex", "draft.tex", "linear_response.tex", "doc/ms.tex"])
def test_a_paper_beside_its_supplement_stays_whatever_it_is_called(name: str) -> None:
    supplement = name.replace("ms", "x").rpartition("/")[0] + "/supplement.tex" if "/" in name else "supplement.tex"
    found = read_paper({supplement: document(OTHER), name: document(PROSE)})
    assert found.text == f"{PROSE}\n\n{OTHER}"
    assert found.lost == {}


def test_documents_that_others_take_in_are_not_their_own() -> None:
    for command in ("\\subfile{part}", "\\input{part}", "\\includestandalone[width=1cm]{part}", "\\import{./}{part}"):
        found = read_paper({"main.tex": document(f"{PROSE} {command}"), "part.tex": document(OTHER, "subfiles")})
        assert found.text.split() == f"{PROSE} {OTHER}".split()
        assert found.lost == {}


def test_an_input_that_is_not_there_is_counted() -> None:
    found = read_paper({"main.tex": document(f"{PROSE} \\input{{gone}} \\input{{figure.tikz}} \\include{{lost/too}}")})
    assert found.lost == {"missing": (2, 0)}


@pytest.mark.parametrize(
    ("readme", "content"),
    [("00README.XXX", "si.tex ignore\n"), ("00README.XXX", "main.tex toplevelfile\n"),
     ("00README.json", '{"sources": [{"filename": "si.tex", "usage": "ignore"}]}'),
     ("00README.yaml", "sources:\n- filename: main.tex\n  usage: toplevel\n")],
)  # fmt: skip
def test_arxivs_readme_decides(readme: str, content: str) -> None:
    files = {"main.tex": document(PROSE), "si.tex": document(OTHER), readme: content.encode()}
    assert read_paper(files).text == PROSE


def test_a_title_for_bookmarks_is_not_a_second_time() -> None:
    assert read_paper({"a.tex": document("\\section{\\texorpdfstring{$E=m$}{E=m} again}\nText")}).text == (
        "\\section{$E=m$ again}\nText"
    )
