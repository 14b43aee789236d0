import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.shards.permutation import Permutation


@given(n=st.integers(1, 5000), key=st.integers(0, 2**63), tweak=st.integers(0, 2**40))
def test_every_number_is_the_image_of_exactly_one(n: int, key: int, tweak: int):
    images = Permutation(n, key)(np.arange(n), tweak)
    assert np.array_equal(np.sort(images), np.arange(n))


def test_other_keys_and_other_tweaks_give_other_orders():
    orders = [
        tuple(Permutation(1000, key)(np.arange(1000), tweak)) for key in ("a", "b", ["a", 1]) for tweak in range(20)
    ]
    assert len(set(orders)) == 60


def test_an_image_does_not_depend_on_what_else_is_asked():
    permutation = Permutation(777, "key")
    numbers = np.arange(777)
    tweaks = numbers % 5
    together = permutation(numbers, tweaks)
    alone = [int(permutation(np.array([number]), int(tweak))[0]) for number, tweak in zip(numbers, tweaks, strict=True)]
    assert together.tolist() == alone


@pytest.mark.parametrize("n", [2**31, 2**40 + 1, 2**62])
def test_numbers_beyond_32_bits_stay_in_range_and_apart(n: int):
    numbers = np.concatenate([np.arange(1000), n - 1 - np.arange(1000)])
    images = Permutation(n, 7)(numbers, 0)
    assert images.min() >= 0
    assert images.max() < n
    assert len(np.unique(images)) == 2000


def test_images_are_spread_evenly():
    # 64 bins x 4096 tweaks: chi-square has 63 degrees of freedom, mean 63, standard deviation 11.2.
    images = Permutation(64, "even")(np.full(4096, 5), np.arange(4096))
    counts = np.bincount(images, minlength=64)
    assert ((counts - 64) ** 2 / 64).sum() < 63 + 6 * 11.2


def test_neighbours_do_not_stay_neighbours():
    images = Permutation(10**6, "far")(np.arange(10**5), 3)
    assert (np.abs(np.diff(images)) < 100).mean() < 0.001


def test_the_order_of_this_version_is_the_order_of_every_version():
    assert Permutation(1000, ["golden", 1])(np.arange(6), 2).tolist() == [884, 958, 351, 562, 254, 411]


@pytest.mark.parametrize("n", [0, -1, 2**62 + 1])
def test_sizes_that_do_not_fit_are_refused(n: int):
    with pytest.raises(ValueError, match="permutation of"):
        Permutation(n, 0)


@pytest.mark.parametrize("n", [1, 2, 3, 97, 1 << 12, 5000])
def test_an_image_leads_back_to_its_number(n: int):
    permutation = Permutation(n, ["key", n])
    numbers = np.arange(n)
    tweaks = numbers % 5
    assert np.array_equal(permutation.inverse(permutation(numbers, tweaks), tweaks), numbers)
