import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input_file import InputFile
from puna.data.readers.arxiv import NO_TEX, REASONS, WITHDRAWN, ArxivReader

SOURCE = Source(path="papers", include=["*"], format="arxiv", heldout_fraction=0.1)
TEX = b"\\documentclass{a}\\begin{document}\\section{One}\nText.\\end{document}"


def reader(limit: int = 10**6) -> ArxivReader:
    return ArxivReader("arxiv", SOURCE, limit)


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def put(tmp_path: Path, name: str, content: bytes) -> InputFile:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return InputFile(str(path), name, len(content), "")


def read(file: InputFile, limit: int = 10**6) -> dict[str, Document | Dropped]:
    found = reader(limit)
    records = list(found.records(file))
    verdicts = [found.document(record) if isinstance(record, Raw) else record for record in records]
    assert len({verdict.id for verdict in verdicts}) == len(verdicts)
    return {verdict.id: verdict for verdict in verdicts}


def test_a_bulk_archive_holds_papers_of_every_kind(tmp_path: Path) -> None:
    several = gzip.compress(
        tar(**{"ms.tex": TEX.replace(b"Text.", b"\\input{s}"), "s.tex": b"Inner.", "f.eps": b"%!PS"})
    )
    bulk = tar(
        **{
            "0906/0906.0001.gz": several,
            "0906/0906.0002.gz": gzip.compress(TEX),
            "0906/0906.0003.pdf": b"%PDF-1.4",
            "9901/hep-th9901001.gz": gzip.compress(b"\\magnification=1200\nPlain text.\\bye"),
            "0906/0906.0004.gz": gzip.compress(b"%auto-ignore\nThis paper has been withdrawn by the author."),
        }
    )
    file = put(tmp_path, "arXiv_src_0906_001.tar", bulk)
    found = read(file)
    assert [f"{file.name}#{i}" for i in ("0906.0001", "0906.0002", "0906.0003", "hep-th/9901001", "0906.0004")] == list(
        found
    )
    several_files, single, pdf, old, withdrawn = found.values()
    assert isinstance(several_files, Document)
    assert several_files.text == "\\section{One}\nInner."
    assert (several_files.url, several_files.date) == ("https://arxiv.org/abs/0906.0001", "2009-06")
    assert isinstance(single, Document)
    assert single.text == "\\section{One}\nText."
    assert isinstance(pdf, Dropped)
    assert (pdf.reason, pdf.detail) == (NO_TEX, "files: .pdf")
    assert isinstance(old, Document)
    assert (old.date, old.url) == ("1999-01", "https://arxiv.org/abs/hep-th/9901001")
    assert isinstance(withdrawn, Dropped)
    assert withdrawn.reason == WITHDRAWN
    assert {NO_TEX, WITHDRAWN} < set(REASONS)


def test_the_archive_of_one_paper_is_one_document(tmp_path: Path) -> None:
    file = put(tmp_path, "2301.00001v2/source.tar.gz", gzip.compress(tar(**{"a/ms.tex": TEX, "a/ref.bib": b"\\input"})))
    (verdict,) = read(file).values()
    assert isinstance(verdict, Document)
    assert (verdict.id, verdict.url) == (file.name, "https://arxiv.org/abs/2301.00001")


def test_a_single_file_is_a_paper(tmp_path: Path) -> None:
    (verdict,) = read(put(tmp_path, "ms.tex", TEX)).values()
    assert isinstance(verdict, Document)
    assert (verdict.id, verdict.url, verdict.date, verdict.licence) == ("ms.tex", "", "", "")


def test_papers_without_ids_are_told_apart_by_their_archives(tmp_path: Path) -> None:
    bulk = tar(**{"one.tar.gz": gzip.compress(tar(a=TEX, b=TEX)), "two.gz": gzip.compress(TEX)})
    assert list(read(put(tmp_path, "bulk.tar", bulk))) == ["bulk.tar#one.tar.gz", "bulk.tar#two.gz"]


def test_a_bulk_archive_may_be_called_after_its_first_and_last_paper(tmp_path: Path) -> None:
    bulk = tar(**{f"0906.000{n}.gz": gzip.compress(TEX) for n in (1, 2)})
    name = "0906.0001-0906.0002.tar"
    assert list(read(put(tmp_path, name, bulk))) == [f"{name}#0906.0001", f"{name}#0906.0002"]


def test_a_compressed_figure_does_not_split_a_paper(tmp_path: Path) -> None:
    content = tar(
        **{"ms.tex": TEX.replace(b"Text.", b"\\input{z}"), "f.eps.gz": gzip.compress(b"%!PS"), "z.tex": b"Z."}
    )
    (verdict,) = read(put(tmp_path, "source.tar", content)).values()
    assert isinstance(verdict, Document)
    assert verdict.text == "\\section{One}\nZ."


def test_parts_that_do_not_lie_together_have_different_ids(tmp_path: Path) -> None:
    inner = gzip.compress(tar(x=TEX))
    found = read(put(tmp_path, "source.tar", tar(**{"a.tex": TEX, "s.tar.gz": inner, "b.tex": TEX})))
    assert list(found) == ["source.tar", "source.tar#s.tar.gz", "source.tar@2"]


def test_ancillary_files_and_figures_are_not_text(tmp_path: Path) -> None:
    content = tar(
        **{"ms.tex": TEX, "anc/more.tex": TEX.replace(b"Text", b"Longer text"), "fig.pstex_t": b"\\begin{picture}" * 99}
    )
    (verdict,) = read(put(tmp_path, "1701.00001.tar", content)).values()
    assert isinstance(verdict, Document)
    assert verdict.text == "\\section{One}\nText."


def test_what_a_paper_loses_is_told_and_a_readme_alone_is_not_a_paper(tmp_path: Path) -> None:
    sample = TEX.replace(b"Text.", b"A sample.")
    content = tar(**{"ms.tex": TEX.replace(b"Text.", b"\\input{gone}"), "sample.tex": sample, "SI.tex": TEX})
    (verdict,) = read(put(tmp_path, "1701.00001.tar", content)).values()
    assert isinstance(verdict, Document)
    assert verdict.text == "\\section{One}\n\n\\section{One}\nText."
    assert verdict.lost == (Lost("arxiv.sample", 1, len(sample)), Lost("arxiv.missing", 1))
    assert {lost.kind for lost in verdict.lost} < set(REASONS)
    (verdict,) = read(
        put(tmp_path, "1701.00002.tar", tar(**{"00README.XXX": b"nohypertex", "a.pdf": b"%PDF"}))
    ).values()
    assert isinstance(verdict, Dropped)
    assert verdict.reason == NO_TEX


def test_a_paper_beyond_the_limit_is_dropped_and_the_next_one_is_read(tmp_path: Path) -> None:
    big = tar(**{f"{n}.tex": TEX + b"x" * 600 for n in range(2)})
    bulk = tar(**{"0906.0001.tar": big, "0906.0002.gz": gzip.compress(TEX)})
    first, second = read(put(tmp_path, "bulk.tar", bulk), limit=1000).values()
    assert isinstance(first, Dropped)
    assert first.reason == TOO_LARGE
    assert isinstance(second, Document)


def test_a_figure_beyond_the_limit_does_not_drop_its_paper(tmp_path: Path) -> None:
    content = tar(**{"ms.tex": TEX, "f.pdf": b"%PDF" + b"x" * 2000})
    (verdict,) = read(put(tmp_path, "1701.00001.tar", content), limit=1000).values()
    assert isinstance(verdict, Document)


def test_a_truncated_archive_gives_no_half_papers(tmp_path: Path) -> None:
    content = gzip.compress(tar(**{"ms.tex": TEX, "z.tex": bytes(range(256)) * 4000}), compresslevel=0)
    (verdict,) = read(put(tmp_path, "1701.00001.tar.gz", content[: len(content) // 2]), limit=10**7).values()
    assert isinstance(verdict, Dropped)
    assert verdict.reason == UNREADABLE


def test_the_reader_travels_and_reads_in_the_same_order(tmp_path: Path) -> None:
    file = put(tmp_path, "bulk.tar", tar(**{f"1701.0000{n}.gz": gzip.compress(TEX) for n in range(5)}))
    there = pickle.loads(pickle.dumps(reader()))
    assert list(there.records(file)) == list(reader().records(file))


@given(st.one_of(st.binary(), st.binary().map(lambda b: b"1 %d\na" % len(b) + b)))
def test_any_bytes_give_a_verdict(content: bytes) -> None:
    assert isinstance(reader().document(Raw("x", content)), Document | Dropped)


@pytest.mark.parametrize(
    ("paper", "begins", "ends", "expanded", "gone"),
    [
        (
            "1703.09710_celerite",
            "\\section{Introduction}\n\nIn the astrophysical literature, Gaussian Processes\n\\citep[GPs;][]{Ras",
            "X^+_{m,n_0+1,k}\\right] \\quad.\n\\end{equation}\n}",
            ["\\textsf{celerite}", "Section~\\ref{sect:compare}", "find 1443\\ effective", "\\begin{deluxetable}",
             "1 & 200 & 1 & 2.85 & 0.26", "\\appendix"],
            ["\\celerite", "\\sect{", "\\exampleivneff", "\\newcommand", "\\bibliography", "\\input",
             "\\begin{abstract}", "\\bvec", "\\todo", "\\begin{document}"],
        ),
        (
            "1606.03757_dnest4",
            "\\section{Introduction}\nBayesian inference, where probability theory",
            "per thread to 1, so the number of particles equals the number of threads.",
            ["\\pkg{DNest4}", "given data $D$", "\\ding{55}", "# Number of particles",
             "\\appendix\n\\section{Command line", "João Faria"],
            ["\\dnest\\", "\\params", "\\xmark", "\\bibliography{", "\\newcommand", "\\maketitle",
             "Specifying models in Julia"],
        ),
    ],
)  # fmt: skip
def test_real_papers_read_well(
    real: Callable[[str], Path], paper: str, begins: str, ends: str, expanded: list[str], gone: list[str]
) -> None:
    name = f"arxiv/{paper}/source.tar.gz"
    (verdict,) = read(InputFile(str(real(name)), name, 1 << 16, ""), limit=10**7).values()
    assert isinstance(verdict, Document)
    assert verdict.text.startswith(begins)
    assert verdict.text.endswith(ends)
    assert [piece for piece in expanded if piece not in verdict.text] == []
    assert [piece for piece in gone if piece in verdict.text] == []
    assert verdict.url == f"https://arxiv.org/abs/{paper[:10]}"
    lines = verdict.text.split("\n")
    assert not any(line.lstrip().startswith("%") for line in lines)
