"""A place of their own for the processes of one attempt.

torchrun starts the processes of a run again when one of them has died, and gives the new ones the same key-value store:
there they find the addresses of the dead, and cannot connect. So the processes of an attempt agree on a word that no
other attempt has, and prefix all their keys with it. Counting attempts would not work: the launchers of several
machines count differently, and a process may die before it has counted.

The main process draws the word. Every other process writes a hello with a number of its own and gets the word as the
answer to that number; the main process answers the latest hello of each until all have confirmed the word.
"""

import time
import uuid

from torch.distributed import PrefixStore, Store

_PAUSE_S = 0.01


def own_store(store: Store, rank: int, size: int) -> PrefixStore:
    """The part of `store` that only the living processes of this attempt know.

    Args:
        store: The store that all processes reach, those of earlier attempts included.
        rank: This process.
        size: Processes of an attempt.
    """
    if rank == 0:
        word = uuid.uuid4().hex
        missing = set(range(1, size))
        while missing:
            for other in list(missing):
                if store.check([f"thanks/{word}/{other}"]):
                    missing.remove(other)
                elif store.check([f"hello/{other}"]):
                    number = store.get(f"hello/{other}").decode()
                    store.set(f"answer/{other}/{number}", word)
            if missing:
                time.sleep(_PAUSE_S)
    else:
        number = uuid.uuid4().hex
        store.set(f"hello/{rank}", number)
        word = store.get(f"answer/{rank}/{number}").decode()
        store.set(f"thanks/{word}/{rank}", "")
    return PrefixStore(word, store)
