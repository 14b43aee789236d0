import pytest

from puna.formats.gguf.types import BY_NUMBER, DTYPES, TYPES, UNREAD

gguf = pytest.importorskip("gguf")


def test_blocks_are_as_the_gguf_package_has_them() -> None:
    for name, kind in TYPES.items():
        number = gguf.GGMLQuantizationType[name]
        assert (kind.number, kind.values, kind.n_bytes) == (number, *gguf.GGML_QUANT_SIZES[number])


def test_every_type_of_the_package_is_read_or_refused_by_name() -> None:
    for number in gguf.GGMLQuantizationType:
        known = BY_NUMBER[number].name if number in BY_NUMBER else UNREAD[number]
        assert known == number.name


def test_a_row_is_whole_blocks() -> None:
    assert TYPES["Q4_K"].row_bytes(512) == 288
    assert [TYPES[name].row_bytes(10) for name in DTYPES] == [40, 20, 20]
