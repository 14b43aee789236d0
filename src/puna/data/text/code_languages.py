"""The source code files by their names, their languages, and the comments of each language.

The table is our own: languages of programs, markup and build files. Data (JSON, CSV, XML,
notebooks), generated files (lock files, maps) and configuration are left out.
"""

import posixpath
from dataclasses import dataclass


@dataclass(frozen=True)
class Comments:
    """How a language marks comments."""

    line: tuple[str, ...] = ()
    """Markers of comments that end with the line."""
    block: tuple[tuple[str, str], ...] = ()
    """Markers at the beginning and end of comments of several lines."""


_C = Comments(("//",), (("/*", "*/"),))
_HASH = Comments(("#",))
_DASHES = Comments(("--",))
_LISP = Comments((";",))
_PERCENT = Comments(("%",))
_MARKUP = Comments((), (("<!--", "-->"),))

COMMENTS = {
    "ada": _DASHES, "assembly": Comments((";", "#", "//", "@", "!"), (("/*", "*/"),)), "awk": _HASH,
    "batch": Comments(("rem ", "REM ", "@rem ", "@REM ", "::")), "bazel": _HASH, "c": _C, "c#": _C, "c++": _C,
    "clojure": _LISP, "cmake": Comments(("#",), (("#[[", "]]"),)), "cobol": Comments(("*",)),
    "coffeescript": Comments(("#",), (("###", "###"),)), "common lisp": Comments((";",), (("#|", "|#"),)),
    "crystal": _HASH, "css": Comments((), (("/*", "*/"),)), "cuda": _C, "cython": _HASH,
    "d": Comments(("//",), (("/*", "*/"), ("/+", "+/"))), "dart": _C, "dockerfile": _HASH, "elixir": _HASH,
    "elm": Comments(("--",), (("{-", "-}"),)), "emacs lisp": _LISP, "erlang": _PERCENT,
    "f#": Comments(("//",), (("(*", "*)"),)), "fortran": Comments(("!", "C ", "c ", "*")), "gdscript": _HASH,
    "glsl": _C, "go": _C, "gradle": _C, "groovy": _C, "haskell": Comments(("--",), (("{-", "-}"),)), "hlsl": _C,
    "html": _MARKUP, "idris": Comments(("--",), (("{-", "-}"),)), "java": _C, "javascript": _C,
    "jsp": Comments((), (("<%--", "--%>"), ("<!--", "-->"))),
    "julia": Comments(("#",), (("#=", "=#"),)), "just": _HASH, "kotlin": _C, "less": _C,
    "lua": Comments(("--",), (("--[[", "]]"),)), "makefile": _HASH, "markdown": _MARKUP, "maven": _MARKUP,
    "meson": _HASH, "metal": _C, "nim": Comments(("#",), (("#[", "]#"),)), "nix": Comments(("#",), (("/*", "*/"),)),
    "objective-c": _C, "ocaml": Comments((), (("(*", "*)"),)), "odin": _C,
    "pascal": Comments(("//",), (("{", "}"), ("(*", "*)"))), "perl": _HASH,
    "php": Comments(("//", "#"), (("/*", "*/"),)), "powershell": Comments(("#",), (("<#", "#>"),)),
    "prolog": Comments(("%",), (("/*", "*/"),)), "protobuf": _C, "python": _HASH, "r": _HASH,
    "racket": Comments((";",), (("#|", "|#"),)), "restructuredtext": Comments(("..",)),
    "ruby": Comments(("#",), (("=begin", "=end"),)), "rust": _C, "sass": _C, "scala": _C,
    "scheme": Comments((";",), (("#|", "|#"),)), "shell": _HASH, "smalltalk": Comments((), (('"', '"'),)),
    "solidity": _C, "sql": Comments(("--",), (("/*", "*/"),)), "starlark": _HASH, "svelte": _MARKUP, "swift": _C,
    "systemverilog": _C, "tcl": _HASH, "terraform": Comments(("#", "//"), (("/*", "*/"),)), "tex": _PERCENT,
    "thrift": Comments(("//", "#"), (("/*", "*/"),)), "toml": _HASH, "typescript": _C, "verilog": _C, "vhdl": _DASHES,
    "vim script": Comments(('"',)), "visual basic": Comments(("'", "REM ", "Rem ")), "vue": _MARKUP, "wgsl": _C,
    "zig": Comments(("//",)),
}  # fmt: skip
"""Comments of each language."""

_ENDINGS = {
    "ada": "adb ads", "assembly": "asm s nasm", "awk": "awk", "batch": "bat cmd", "bazel": "bzl bazel", "c": "c h",
    "c#": "cs", "c++": "cc cpp cxx c++ hh hpp hxx h++ ipp tpp inl", "clojure": "clj cljs cljc", "cmake": "cmake",
    "cobol": "cob cbl cpy", "coffeescript": "coffee", "common lisp": "lisp lsp cl", "crystal": "cr", "css": "css",
    "cuda": "cu cuh", "cython": "pyx pxd", "d": "d", "dart": "dart", "dockerfile": "dockerfile", "elixir": "ex exs",
    "elm": "elm", "emacs lisp": "el", "erlang": "erl hrl", "f#": "fs fsi fsx",
    "fortran": "f f77 f90 f95 f03 f08 for ftn", "gdscript": "gd", "glsl": "glsl vert frag comp", "go": "go",
    "gradle": "gradle", "groovy": "groovy", "haskell": "hs lhs", "hlsl": "hlsl", "html": "html htm xhtml",
    "idris": "idr", "java": "java", "javascript": "js mjs cjs jsx", "jsp": "jsp", "julia": "jl", "kotlin": "kt kts",
    "less": "less", "lua": "lua", "makefile": "mk mak make", "markdown": "md markdown mdown", "metal": "metal",
    "nim": "nim", "nix": "nix", "objective-c": "m mm", "ocaml": "ml mli", "odin": "odin", "pascal": "pas pp dpr lpr",
    "perl": "pl pm perl", "php": "php php3 php4 php5 phtml", "powershell": "ps1 psm1 psd1", "prolog": "pro prolog",
    "protobuf": "proto", "python": "py pyi pyw", "r": "r", "racket": "rkt", "restructuredtext": "rst",
    "ruby": "rb rake gemspec", "rust": "rs", "sass": "scss sass", "scala": "scala sc sbt", "scheme": "scm ss sld",
    "shell": "sh bash zsh ksh fish command", "smalltalk": "st", "solidity": "sol", "sql": "sql", "starlark": "star",
    "svelte": "svelte", "swift": "swift", "systemverilog": "sv svh", "tcl": "tcl", "terraform": "tf",
    "tex": "tex sty cls",
    "thrift": "thrift", "typescript": "ts tsx mts cts", "verilog": "v vh", "vhdl": "vhd vhdl", "vim script": "vim",
    "visual basic": "vb bas vbs", "vue": "vue", "wgsl": "wgsl", "zig": "zig",
}  # fmt: skip
LANGUAGES = {f".{ending}": language for language, endings in _ENDINGS.items() for ending in endings.split()} | {
    ".C": "c++",
    ".H": "c++",
    ".S": "assembly",
}
"""Languages by the ending of a name in lower case; the few endings with a capital are compared unchanged."""

NAMES = {
    "build.bazel": "bazel", "cargo.toml": "toml", "cmakelists.txt": "cmake", "containerfile": "dockerfile",
    "dockerfile": "dockerfile", "gemfile": "ruby", "gnumakefile": "makefile", "jenkinsfile": "groovy",
    "justfile": "just",
    "makefile": "makefile", "makefile.am": "makefile", "meson.build": "meson", "podfile": "ruby", "pom.xml": "maven",
    "pyproject.toml": "toml", "rakefile": "ruby", "sconstruct": "python", "vagrantfile": "ruby", "workspace": "bazel",
}  # fmt: skip
"""Languages by the whole name in lower case."""

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def language_of(path: str) -> str:
    """The language of a file, such as `python` or `c++`; empty if its name is not that of source code."""
    name = posixpath.basename(path)
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    ending = posixpath.splitext(name)[1]
    return NAMES.get(name.lower()) or LANGUAGES.get(ending) or LANGUAGES.get(ending.lower(), "")
