import pytest

from puna.data.text.licence_expressions import all_of, is_permitted


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True), ("mit", True), ("Apache-2.0", True), ("BSD-3-Clause", True), ("GPL-3.0", False), ("", False),
        ("GPL-2.0 OR MIT", True), ("GPL-2.0 AND MIT", False), ("(MIT OR Apache-2.0)", True),
        ("MIT AND Apache-2.0", True), ("(MIT OR Apache-2.0) AND GPL-2.0", False), ("GPL-2.0 AND (MIT OR BSD)", False),
        ("(MIT OR GPL-2.0) AND BSD-3-Clause", True), ("GPL-3.0 AND LGPL-3.0 OR MIT", True), ("MIT AND", False),
        ("((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)", True), ("(MIT", False), ("MIT)", False), ("OR", False),
        ("(GPL-2.0)AND(MIT)", False), ("MIT (GPL-2.0)", False), ("apache license 2.0", True), ("()", False),
        ("Apache-2.0 WITH LLVM-exception", True), ("0BSD", False), ("unknown", False),
        ("mit, gpl-3.0", False), ("mit; apache-2.0", True), ("MIT/Apache-2.0", True), ("GPL-2.0/MIT", True),
        ("mit & gpl-3.0", False), ("Apache-2.0 WITH Commons-Clause", False), ("LicenseRef-Unknown AND MIT", False),
    ],
)  # fmt: skip
def test_an_expression_is_permitted_if_it_can_be_fulfilled(expression: str, permitted: bool) -> None:
    assert is_permitted(expression, ["apache", "bsd", "mit"]) is permitted


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], ""), (["MIT"], "MIT"), (["MIT", "MIT"], "MIT"), (["MIT OR GPL", "BSD"], "(MIT OR GPL) AND BSD"),
        (["(MIT OR GPL)", "BSD"], "(MIT OR GPL) AND BSD"),
        (["(A OR B) AND (C OR D)", "E"], "((A OR B) AND (C OR D)) AND E"),
    ],
)  # fmt: skip
def test_expressions_are_joined_so_that_all_hold(parts: list[str], whole: str) -> None:
    assert all_of(parts) == whole
