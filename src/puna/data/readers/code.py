"""Source code: files in directories and archives, and rows of JSON lines or Parquet with `content`.

A file is code by its name (`puna.data.text.code_languages`). Its licence is the first of these: what its own comments
say (`puna.data.text.licence_notices`), the row's column, the licence files next to it or in the nearest directory above
it (`puna.data.text.licences`), the source's in the recipe. A licence file that is not recognised is not passed over. An
archive is read twice, first for its licence files, since they may come after the code. The encoding is the declared or
a likely one where it is not UTF-8 (`puna.data.text.code_encoding`).
"""

import os
import posixpath
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input.streams import BrokenMember, Member, members
from puna.data.input_file import InputFile
from puna.data.readers.code_rows import BAD_ROW, Row, has_rows, is_parquet, json_rows, parquet_rows
from puna.data.spec import ReaderSpec
from puna.data.text.code_encoding import decode_code, wide_encoding
from puna.data.text.code_languages import language_of
from puna.data.text.decode import clean_text, marked_encoding
from puna.data.text.licence_notices import notice
from puna.data.text.licences import DirectoryLicence, directory_licence, is_licence_file, nearest_licence

NOT_SOURCE = "code.not_source"

REASONS = {
    NOT_SOURCE: "By its name it is not source code, or it is a licence (RedPajama v1 has such a list).",
    BAD_ROW: "The row is not a JSON object, or has no text in its column `content`.",
}

_CONTROLS = bytes(sorted({*range(32), 127} - {*b"\b\t\n\v\f\r\x1b"}))
_LICENCE_BYTES = 200_000
"""Bytes of a licence file that are read; the licences of libraries may follow the first one."""
_DIRECTORIES = 4096
"""How many directories' licences are cached."""


class CodeReader:
    """Files of source code with their languages and licences.

    Args:
        name: The source's name.
        source: Its section of the recipe.
        limit: Most bytes of a file.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._name = name
        self._licence = source.licence
        self._limit = limit
        self._directories: dict[str, DirectoryLicence] = {}

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The files of code in a file; other files are dropped by their names alone."""
        try:
            if is_parquet(file.name):
                yield from self._rows(file, parquet_rows(file, self._limit))
            elif has_rows(file, self._limit):
                yield from self._rows(file, json_rows(file, self._limit))
            else:
                yield from self._members(file)
        except OSError as error:
            yield Dropped(self._name, file.name, UNREADABLE, str(error))

    def _rows(self, file: InputFile, rows: Iterator[Row]) -> Iterator[Raw | Dropped]:
        for ordinal, row in enumerate(rows):
            identity = f"{file.name}#{ordinal}"
            if isinstance(row, tuple):
                yield Dropped(self._name, identity, *row)
                continue
            content = _encoded(row.pop("content"))
            language = "" if is_licence_file(row["path"]) else language_of(row["path"])
            if row["path"] and not language:
                yield Dropped(self._name, identity, NOT_SOURCE, row["path"])
            elif len(content) > self._limit:
                yield Dropped(self._name, identity, TOO_LARGE, f"{len(content)} bytes, at most {self._limit}")
            else:
                row["language"] = language or row["language"]
                row["from"] = "its row" if row["licence"] else ""
                yield Raw(identity, content, {key: value for key, value in row.items() if value})

    def _members(self, file: InputFile) -> Iterator[Raw | Dropped]:
        # A file with a name of code is not an archive.
        licences = {} if language_of(file.name) else self._archive_licences(file)
        for member in members(file, self._limit):
            inside = member.name[len(file.name) + 1 :]
            identity = f"{file.name}#{inside}" if inside else file.name
            path = inside or file.name
            language = "" if is_licence_file(path) else language_of(path)
            if isinstance(member, BrokenMember) and (language or member.reason != TOO_LARGE):
                yield Dropped(self._name, identity, member.reason, member.detail)
            elif isinstance(member, BrokenMember) or not language:
                yield Dropped(self._name, identity, NOT_SOURCE, posixpath.basename(path))
            else:
                licence, files = _nearest(licences, path) if inside else self._licence_beside(file)
                fields = {"path": path, "language": language, "licence": licence, "from": files}
                yield Raw(identity, member.content, {key: value for key, value in fields.items() if value})

    def _archive_licences(self, file: InputFile) -> dict[str, DirectoryLicence]:
        """The licences in an archive, by directory."""
        found: dict[str, dict[str, str]] = {}
        for member in members(file, _LICENCE_BYTES):
            path = member.name[len(file.name) + 1 :]
            if path and isinstance(member, Member) and is_licence_file(path):
                found.setdefault(_directory(path), {})[_name(path)] = member.content.decode("utf-8", "replace")
        return {directory: directory_licence(texts, _name(directory)) for directory, texts in found.items()}

    def _licence_beside(self, file: InputFile) -> tuple[str, str]:
        """The licence in the nearest directory at or above a file, up to the source's root, and its files' names."""
        root = file.url[: -len(file.name)] if file.name and file.url.endswith(file.name) else None
        directory, found = posixpath.dirname(file.name), {}
        while root is not None:
            found[directory] = self._licence_in(root + directory if directory else root.rstrip("/") or "/")
            if found[directory].licence or not directory:
                break
            directory = posixpath.dirname(directory)
        return _stated(found)

    def _licence_in(self, url: str) -> DirectoryLicence:
        """The licence in a directory; the result is cached."""
        if url not in self._directories:
            if len(self._directories) >= _DIRECTORIES:
                self._directories.clear()
            self._directories[url] = _read_licence(url)
        return self._directories[url]

    def document(self, raw: Raw) -> Document | Dropped:
        """The file as text, with its licence."""
        content = raw.content
        # UTF-16 and UTF-32 are full of zeros.
        is_wide = marked_encoding(content) not in ("", "utf-8-sig") or wide_encoding(content) != ""
        if not is_wide and _is_binary(content):
            return Dropped(self._name, raw.id, BINARY)
        try:
            text = clean_text(decode_code(content, raw.fields.get("encoding", "")), code=True)
        except UnicodeDecodeError as error:
            return Dropped(
                self._name,
                raw.id,
                INVALID_UTF8,
                f"at byte {error.start}, nor in an encoding that is declared or likely",
            )
        if not text:
            return Dropped(self._name, raw.id, EMPTY)
        path, repo, language = (raw.fields.get(name, "") for name in ("path", "repo", "language"))
        own = notice(text, language)
        return Document(
            self._name,
            raw.id,
            text,
            f"{repo}/{path}" if repo else raw.id,
            url=f"https://github.com/{quote(repo)}/blob/HEAD/{quote(path)}" if repo and path else "",
            licence=own.licence or raw.fields.get("licence", "") or self._licence,
            language=language,
            licence_from=f'"{own.words}"' if own.licence else raw.fields.get("from", ""),
        )


def _is_binary(content: bytes) -> bool:
    return b"\0" in content or len(content) - len(content.translate(None, _CONTROLS)) > len(content) // 10


def _encoded(text: str) -> bytes:
    """The text in UTF-8 without lone surrogates, which JSON may contain; or the bytes that the row had."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return clean_text(text, code=True).encode()


def _directory(path: str) -> str:
    """The part of a path before its last `/` or `!`."""
    return path[: max(path.rfind("/"), path.rfind("!"), 0)]


def _name(path: str) -> str:
    """The part of a path after its last `/` or `!`."""
    return path[max(path.rfind("/"), path.rfind("!")) + 1 :]


def _nearest(licences: Mapping[str, DirectoryLicence], path: str) -> tuple[str, str]:
    """The licence of the nearest directory above a path that has one, and the names of its files."""
    above = {}
    while path:
        path = _directory(path)
        if path in licences:
            above[path] = licences[path]
            if licences[path].licence:
                break
    return _stated(above)


def _stated(found: Mapping[str, DirectoryLicence]) -> tuple[str, str]:
    """The licence that holds below the first of some directories, and the names of the files that say so."""
    files = [f"{path}/{name}" if path else name for path, one in found.items() for name in one.files]
    return nearest_licence(found.values()), ", ".join(files)


def _read_licence(url: str) -> DirectoryLicence:
    """What the licence files of a directory say, local or in an object store."""
    try:
        if "://" not in url:
            names = os.listdir(url)
        else:
            import fsspec

            system, path = fsspec.core.url_to_fs(url)
            names = [posixpath.basename(entry) for entry in system.ls(path, detail=False)]
        texts = {}
        for name in sorted(filter(is_licence_file, names)):
            with InputFile(f"{url.rstrip('/')}/{name}", name, 0, "").open() as stream:
                texts[name] = stream.read(_LICENCE_BYTES).decode("utf-8", "replace")
    except OSError:
        return DirectoryLicence()
    return directory_licence(texts, posixpath.basename(url.rstrip("/")))


READER = ReaderSpec(
    name="code",
    make=CodeReader,
    reads="source files, archives of repositories, or rows with `content`",
    reasons=REASONS,
    damage=(BAD_ROW,),
)
