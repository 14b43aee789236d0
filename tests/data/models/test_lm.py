# ruff: noqa: RUF001
import json
import math
import pickle
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.data.models import lm
from puna.data.models.lm import (
    LanguageModel,
    normalise,
    normalised_lines,
    page_line,
    perplexity,
    train_language_model,
)

needs_lmplz = pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not in PATH")

SUBJECTS = ["The king", "A senator", "The old river", "Our army", "The people of the city"]
VERBS = ["crossed", "feared", "remembered", "gave away", "built"]
OBJECTS = ["the bridge", "seven ships", "the laws of 1787", "a café by the sea", "all that was left"]


def prose(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)

    def sentence() -> str:
        return f"{chance.choice(SUBJECTS)} {chance.choice(VERBS)} {chance.choice(OBJECTS)}."

    return ["\n".join(" ".join(sentence() for _ in range(3)) for _ in range(4)) for _ in range(count)]


def shuffled(text: str, seed: int = 0) -> str:
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


class Arpa:
    """A back-off model in ARPA's text format (Katz 1987), read and asked as slowly as the definition says."""

    def __init__(self, path: Path) -> None:
        self.ngrams: dict[tuple[str, ...], tuple[float, float]] = {}
        order = 0
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.endswith("-grams:"):
                order = int(line[1])
            elif order and "\t" in line:
                logarithm, words, *backoff = line.split("\t")
                self.ngrams[tuple(words.split(" "))] = (float(logarithm), float(backoff[0]) if backoff else 0.0)
                self.order = order

    def word(self, context: tuple[str, ...], word: str) -> float:
        if (*context, word) in self.ngrams:
            return self.ngrams[*context, word][0]
        if not context:
            return self.ngrams["<unk>",][0]
        return self.ngrams.get(context, (0.0, 0.0))[1] + self.word(context[1:], word)

    def line(self, pieces: list[str]) -> float:
        known = [piece if (piece,) in self.ngrams else "<unk>" for piece in pieces]
        words = ["<s>", *known, "</s>"]
        return sum(self.word(tuple(words[max(0, at - self.order + 1) : at]), words[at]) for at in range(1, len(words)))


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory) -> Path:
    """A model of trigrams with made-up probabilities that KenLM can read."""
    directory = tmp_path_factory.mktemp("by_hand")
    texts = prose(30, 1)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in normalised_lines(text)),
        model_prefix=str(directory / "sp"),
        vocab_size=120,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(directory / "sp.model"))
    ngrams: list[set[tuple[str, ...]]] = [{("<unk>",), ("<s>",), ("</s>",)}, set(), set()]
    for text in texts[:3]:
        for line in normalised_lines(text):
            words = ["<s>", *tokenizer.encode(line, out_type=str), "</s>"]
            for n in range(3):
                ngrams[n] |= {tuple(words[at : at + n + 1]) for at in range(len(words) - n)}
    chance = random.Random(2)
    lines = ["\\data\\", *(f"ngram {n}={len(found)}" for n, found in enumerate(ngrams, 1))]
    for n, found in enumerate(ngrams, 1):
        lines += ["", f"\\{n}-grams:"]
        for words in sorted(found):
            backoff = f"\t{-chance.random():.4f}" if n < 3 and words[-1] != "</s>" else ""
            lines.append(f"{-4 * chance.random():.4f}\t{' '.join(words)}{backoff}")
    (directory / "lm.arpa").write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    (directory / "cutoffs.json").write_text('{"head": 10, "middle": 20.5}')
    return directory


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Callable[..., Path]:
    def run(**changes) -> Path:
        out = tmp_path_factory.mktemp("lm") / "en"
        settings = {"language": "en", "reference": prose(40, 7), "pieces": 200} | changes
        train_language_model(settings.pop("texts", prose(80, 5)), out, **settings)
        return out

    return run


@pytest.fixture(scope="module")
def trained(train) -> Path:
    return train()


def slow_perplexity(directory: Path, text: str) -> float:
    arpa = Arpa(directory / "lm.arpa")
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(directory / "sp.model"))
    lines = [tokenizer.encode(line, out_type=str) for line in map(normalise, text.split("\n")) if line]
    return 10 ** (-sum(map(arpa.line, lines)) / sum(len(line) + 1 for line in lines))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  Été 1789: “Liberté”…\t", 'ete 0000: "liberte"...'),
        ("a\tb\x0bc\rd\x85e", "a b c d e"),
        ("a\x00b\x1fc\x7fd\x9fe", "abcde"),
        ("En–em—dash, ｗide：x", "en-em - dash, ｗide:x"),
        ("٣ and ४ and ７", "0 and 0 and 0"),
        ("Ἀθῆναι ЙОД", "αθηναι иод"),
        ("\x00 \x1f", ""),
    ],
)
def test_lines_are_normalised_as_ccnet_does_but_words_are_never_glued_together(line, expected):
    assert normalise(line) == expected


@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_the_fast_way_for_ascii_is_the_same(line):
    # A character that is not ASCII and vanishes makes the slow way run.
    assert normalise(line) == normalise(line + "\u0301")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_normalised_line_has_no_upper_case_no_digit_but_0_no_control_and_no_line_end(text):
    for line in normalised_lines(text):
        assert line == line.strip() != ""
        decomposed = unicodedata.normalize("NFD", line)
        assert all(c == "0" for c in line if c.isdecimal())
        assert not any(unicodedata.category(c) in ("Cc", "Mn") for c in decomposed)


def test_a_long_line_is_cut_and_nothing_of_it_lost():
    long = "ab cd. " * 5000
    pieces = list(normalised_lines(f"x\n\n{long}\ny"))
    assert (pieces[0], pieces[-1]) == ("x", "y")
    assert max(map(len, pieces)) <= 10_000
    assert "".join(pieces[1:-1]).replace(" ", "") == long.replace(" ", "")


def test_the_perplexity_is_that_of_the_definition(by_hand):
    model = LanguageModel(by_hand)
    for text in [*prose(10, 3), "Nothing of this\n\nwas there: 漢字 <s> </s> <unk>", shuffled(prose(1, 1)[0])]:
        assert model.perplexity(text) == pytest.approx(slow_perplexity(by_hand, text), rel=1e-4)


def test_lines_are_scored_for_themselves_not_as_one_long_line(by_hand):
    model = LanguageModel(by_hand)
    first, second = prose(1, 3)[0].split("\n")[:2]
    counts = [len(model._tokenizer.encode(normalise(line))) + 1 for line in (first, second)]
    logarithms = [math.log10(model.perplexity(line)) for line in (first, second)]
    mean = sum(count * value for count, value in zip(counts, logarithms, strict=True)) / sum(counts)
    assert model.perplexity(f"{first}\n\n \n{second}\n") == pytest.approx(10**mean)
    assert model.perplexity(f"{first} {second}") != pytest.approx(10**mean, rel=1e-3)


def of_cc_net(text: str) -> str:
    """`normalize` of cc_net's text_normalizer.py, spelled out character by character."""
    line = unicodedata.normalize("NFD", text.strip().lower())
    line = "".join(character for character in line if unicodedata.category(character) != "Mn")
    line = "".join("0" if character.isdecimal() else lm._PUNCTUATION.get(character, character) for character in line)
    return "".join(c for c in line if not (ord(c) < 32 or 127 <= ord(c) < 160))


PAGES = ["The king\nfeared Été 17.\n\nOur\tarmy \x85built — it", "A senator\r\nbuilt …", "\n x \n"]


@pytest.mark.parametrize("text", [*PAGES, *prose(3, 5)])
def test_a_page_is_scored_as_one_line_as_ccnets_code_does(by_hand, text):
    assert page_line(text) == of_cc_net(text)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(by_hand / "sp.model")).encode(
        page_line(text), out_type=str
    )
    expected = 10 ** (-Arpa(by_hand / "lm.arpa").line(pieces) / (len(pieces) + 1))
    model = LanguageModel(by_hand)
    assert model.page_perplexity(text) == model.perplexity_by("page")(text) == pytest.approx(expected, abs=0.06)
    assert model.perplexity_by("lines")(text) == model.perplexity(text)


def test_words_at_the_ends_of_a_pages_lines_are_joined():
    assert page_line("one\ntwo\n\nthree") == "onetwothree"


def test_a_text_of_nothing_has_an_infinite_perplexity(by_hand):
    assert LanguageModel(by_hand).page_perplexity("\x00\n \n") == math.inf
    assert LanguageModel(by_hand).perplexity("\x00\n \n") == math.inf
    assert perplexity(-1e9, 2) == math.inf
    assert perplexity(-6.0, 3) == 100.0


def test_the_cutoffs_part_head_middle_and_tail(by_hand):
    model = LanguageModel(by_hand)
    values = [0.0, 9.99, 10.0, 20.4, 20.5, math.inf]
    assert [model.bucket(value) for value in values] == ["head", "head", "middle", "middle", "tail", "tail"]


def test_a_model_travels_before_and_after_its_first_use(by_hand):
    model = LanguageModel(by_hand)
    before = pickle.loads(pickle.dumps(model))
    value = model.perplexity("the king")
    assert before.perplexity("the king") == pickle.loads(pickle.dumps(model)).perplexity("the king") == value


def test_loading_and_asking_says_nothing(by_hand, capfd):
    LanguageModel(by_hand).perplexity("the king")
    assert capfd.readouterr() == ("", "")


def test_an_incomplete_or_damaged_model_is_named(by_hand, tmp_path):
    with pytest.raises(DataError, match=r"none: is not a language model, it has no sp\.model"):
        LanguageModel(tmp_path / "none")
    for name, content, complaint in (
        ("cutoffs.json", b'{"head": 1}', "expected two numbers, 'head' and 'middle'"),
        ("cutoffs.json", b"[", "expected two numbers"),
        ("cutoffs.json", b'{"head": 1, "middle": 2, "score": "word"}', "'score' is 'word', expected 'lines' or 'page'"),
        ("sp.model", b"rubbish", "is not a SentencePiece model"),
        ("lm.arpa", b"rubbish", "KenLM cannot load this model"),
    ):
        directory = shutil.copytree(by_hand, tmp_path / "copy", dirs_exist_ok=True)
        (directory / name).write_bytes(content)
        with pytest.raises(DataError, match=complaint):
            LanguageModel(directory).perplexity("x")


def test_without_lmplz_the_error_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"'no-such-lmplz'.* is not there") as error:
        train_language_model(prose(3, 0), tmp_path / "out", language="en", reference=[], lmplz="no-such-lmplz")
    assert "launch/build-kenlm.sh" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def script(path: Path, code: str) -> str:
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (
            "sys.stdin.buffer.read(); print('first'); print('disk is full', file=sys.stderr); sys.exit(3)",
            "disk is full",
        ),
        ("sys.stdin.close(); time.sleep(0.1); sys.exit(3)", "nothing"),
    ],
)
def test_what_lmplz_says_when_it_fails_is_told(tmp_path, code, complaint):
    lmplz = script(tmp_path / "lmplz", code)
    with pytest.raises(DataError, match=f"ended with code 3 and said: {complaint}"):
        train_language_model(prose(80, 0), tmp_path / "out", language="en", reference=[], pieces=200, lmplz=lmplz)
    assert not (tmp_path / "out").exists()


def test_the_file_that_comes_with_the_project_builds_the_version_that_is_installed():
    from importlib.metadata import version

    text = (Path(__file__).parents[3] / "launch" / "build-kenlm.sh").read_text()
    assert f"VERSION={version('kenlm')}\n" in text
    subprocess.run(["bash", "-n", "launch/build-kenlm.sh"], check=True, cwd=Path(__file__).parents[3])


@needs_lmplz
def test_a_trained_model_prefers_what_it_was_trained_on(trained):
    model = LanguageModel(trained)
    for text in prose(10, 9):
        assert model.perplexity(text) * 3 < model.perplexity(shuffled(text))
    assert model.perplexity("qzx jkvw") > 100 * model.perplexity(prose(1, 9)[0])


@needs_lmplz
def test_a_trained_model_is_that_of_its_arpa_file(train, trained):
    as_text = train(build_binary="no-such-program")
    assert sorted(path.name for path in as_text.iterdir()) == ["cutoffs.json", "lm.arpa", "record.json", "sp.model"]
    if (trained / "lm.arpa").exists():
        pytest.skip("KenLM's build_binary is not in PATH")
    assert sorted(path.name for path in trained.iterdir()) == ["cutoffs.json", "lm.bin", "record.json", "sp.model"]
    assert sha256_file(as_text / "sp.model") == sha256_file(trained / "sp.model")
    binary, text = LanguageModel(trained), LanguageModel(as_text)
    for document in [*prose(3, 11), "漢字 <unk> qzx"]:
        expected = pytest.approx(slow_perplexity(as_text, document), rel=1e-4)
        assert binary.perplexity(document) == expected
        assert text.perplexity(document) == expected


@needs_lmplz
def test_thirty_and_sixty_percent_of_the_reference_lie_below_the_cutoffs(trained):
    model = LanguageModel(trained)
    reference = prose(40, 7)
    buckets = [model.bucket(model.perplexity(text)) for text in reference]
    assert [buckets.count(name) for name in ("head", "middle", "tail")] == [12, 12, 16]


@needs_lmplz
def test_training_again_gives_the_same_bytes(train, trained):
    again = train(texts=iter(prose(80, 5)), reference=iter(prose(40, 7)))
    for path in trained.iterdir():
        if path.name != "record.json":
            assert path.read_bytes() == (again / path.name).read_bytes()


@needs_lmplz
def test_the_record_tells_what_was_trained_on_what(trained):
    record = json.loads((trained / "record.json").read_text())
    assert record["stage"] == "language-model"
    settings = {"language": "en", "pieces": 200, "coverage": 0.9995, "order": 5, "score": "lines"}
    assert record["config"] == settings
    assert json.loads((trained / "cutoffs.json").read_text())["score"] == "lines"
    assert record["results"]["lines"] == 80 * 4
    assert 20 < record["results"]["pieces"] <= 200
    assert record["results"]["reference_documents"] == 40
    assert record["outputs"]["sp.model"] == sha256_file(trained / "sp.model")


@needs_lmplz
def test_words_that_are_symbols_to_the_tools_can_be_trained_on(train):
    texts = [f"<s> {text} </s> <unk>\n\u2581 \u2585 \ud800\n" for text in prose(40, 1)]
    assert LanguageModel(train(texts=texts)).perplexity("<s> the king") < 1000


@needs_lmplz
def test_what_cannot_be_trained_on_is_an_error_and_leaves_nothing(tmp_path):
    def broken() -> Iterator[str]:
        yield from prose(50, 1)
        raise DataError("the text is damaged")

    for texts, reference, complaint in (
        ([" \n", ""], ["x"], "there is no text to train the language model on"),
        (prose(50, 1), ["", "\n"], "no reference document has a perplexity"),
        (broken(), ["x"], "the text is damaged"),
    ):
        with pytest.raises(DataError, match=complaint):
            train_language_model(texts, tmp_path / "out", language="en", reference=reference, pieces=200)
        assert list(tmp_path.iterdir()) == []


def test_pieces_of_a_line_never_exceed_what_sentencepiece_reads():
    """NFD makes three letters of a Korean syllable and five of a note, of three and four bytes each."""
    widest = max((chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000), key=_normalised_bytes)
    assert _normalised_bytes(widest) == 12
    for character in ("a", "각", widest):
        pieces = [len(piece.encode()) for piece in normalised_lines(character * 25_000)]
        assert len(pieces) == 3
        assert max(pieces) == _normalised_bytes(character) * lm._LINE_CHARACTERS <= lm._TRAINING_LINE_BYTES


def _normalised_bytes(character: str) -> int:
    # Only what Unicode decomposes grows.
    return len(normalise(character).encode()) if unicodedata.normalize("NFD", character) != character else 1
