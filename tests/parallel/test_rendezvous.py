"""Processes of one attempt find each other, whatever the attempts before them left in the store."""

import threading

import pytest
from torch.distributed import HashStore, PrefixStore, Store

from puna.parallel.rendezvous import own_store


def _meet(store: Store, size: int) -> list[PrefixStore]:
    found: dict[int, PrefixStore] = {}
    threads = [
        threading.Thread(target=lambda rank=rank: found.update({rank: own_store(store, rank, size)}))
        for rank in reversed(range(size))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert len(found) == size
    return [found[rank] for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_have_the_same_place_and_no_other_attempt_has_it(size: int):
    store = HashStore()
    first, second = _meet(store, size), _meet(store, size)
    first[0].set("address", "of the dead")
    second[-1].set("other", "of the living")
    assert all(own.check(["address"]) for own in first)
    assert not any(own.check(["address"]) for own in second)
    assert all(own.check(["other"]) for own in second)


def test_process_that_died_after_its_hello_is_not_waited_for():
    store = HashStore()
    for rank in (1, 2):
        store.set(f"hello/{rank}", "a number of the attempt before")
    assert len(_meet(store, 3)) == 3
