"""Who uses which page of the cache, and which pages hold a prefix that others may use again.

A page is `page_size` positions of keys and values; a runner owns the numbers, this module only the page numbers. A page
is either free, or used by one or more sequences, or idle: nobody uses it, but it still holds a known prefix. Idle pages
are handed out again when no free ones are left, the longest unused first.

A full page is known by its tokens and by the page before it, which is known the same way, down to the text's origin:
so a prefix is found page by page, in a dictionary whose keys are compared token by token. There is no hash that two
prefixes could share. The page before is named by a serial number that is never used twice, and not by its page number,
which may hold something else by then.

A page that is full only in part is known by the tokens that it has. It is never shared, since its user writes on: who
begins alike gets a copy of it, and so does who has the first tokens of a page in common. For that, one page is looked
at behind each prefix, the one that became known last: where texts come in order, none has more in common with the next.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

Origin = str | tuple[str, str]
"""What is before a text: `Request.origin`, its salt and the adapter that its keys and values are computed with."""
Prefix = int | Origin
"""The text before a page: the serial number of the page before, or the text's origin at its beginning."""


class Pages:
    """The pages of one cache.

    Args:
        count: How many there are.
        page_size: Positions of each.
    """

    def __init__(self, count: int, page_size: int) -> None:
        self.count, self.page_size = count, page_size
        self._free = list(range(count - 1, -1, -1))
        self._users = [0] * count
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._known: dict[tuple[Prefix, tuple[int, ...]], int] = {}
        self._keys: dict[int, tuple[Prefix, tuple[int, ...]]] = {}
        self._serials: dict[int, int] = {}
        self._next_serial = 0
        self._latest: dict[Prefix, int] = {}
        """Behind each prefix the page that became known last and is computed."""
        self._new: list[int] = []

    @property
    def available(self) -> int:
        """Pages that `take` can still give."""
        return len(self._free) + len(self._idle)

    @property
    def known(self) -> int:
        """Pages that hold a prefix, used or idle."""
        return len(self._keys)

    def take(self) -> int:
        """A page for a new user; what it held is forgotten. There must be one available."""
        if self._free:
            page = self._free.pop()
        else:
            page, _ = self._idle.popitem(last=False)
            key = self._keys.pop(page)
            del self._known[key], self._serials[page]
            if self._latest.get(key[0]) == page:
                del self._latest[key[0]]
        self._users[page] = 1
        return page

    def find(self, origin: Origin, tokens: Sequence[int], limit: int) -> tuple[list[int], Prefix]:
        """The known pages that `tokens` begins with, now used once more, and what to call them as a prefix.

        Args:
            origin: Only prefixes of the same origin are found.
            tokens: The text.
            limit: Tokens that may be found at most; only full pages are found.
        """
        prefix: Prefix = origin
        pages: list[int] = []
        for start in range(0, limit - self.page_size + 1, self.page_size):
            page = self._known.get((prefix, tuple(tokens[start : start + self.page_size])))
            if page is None:
                break
            self._users[page] += 1
            self._idle.pop(page, None)
            pages.append(page)
            prefix = self._serials[page]
        return pages, prefix

    def find_part(self, prefix: Prefix, tokens: Sequence[int]) -> tuple[int, int]:
        """A page to copy for a text which goes on with `tokens`, and how many of these it begins with; 0 is none.

        What it holds stays there until the next step is computed, even if `take` hands it out before.

        Args:
            prefix: From `find`, the text before.
            tokens: At most a page of them.
        """
        page, count = self._latest.get(prefix, -1), 0
        if page >= 0:
            count = in_common(self._keys[page][1], tokens)
        for part in range(min(len(tokens), self.page_size - 1), count, -1):
            known = self._known.get((prefix, tuple(tokens[:part])))
            if known is not None:
                return known, part
        return page, count

    def settle(self) -> None:
        """All that was made known so far is computed now, and can be copied."""
        for page in self._new:
            if page in self._keys:
                self._latest[self._keys[page][0]] = page
        self._new.clear()

    def know(self, page: int, prefix: Prefix, tokens: tuple[int, ...]) -> Prefix:
        """Make a page known; returns what to call the text up to its end as a prefix.

        Where another page is known to hold the same, that one stays known and this one stays its user's alone.

        Args:
            page: Full, perhaps by what the next step computes; or full in part, computed, and not written any more.
            prefix: The text before.
            tokens: All that it holds.
        """
        key = (prefix, tokens)
        if (known := self._known.get(key)) is None:
            known = page
            self._known[key], self._keys[page], self._serials[page] = page, key, self._next_serial
            self._next_serial += 1
        if known == page:
            self._new.append(page)
        return self._serials[known]

    def release(self, pages: Iterable[int]) -> None:
        """One user less of each page of a sequence, in the order of its text."""
        # The end of a text grows idle before its beginning, which more texts share.
        for page in reversed(list(pages)):
            self._users[page] -= 1
            if self._users[page] == 0:
                if page in self._keys:
                    self._idle[page] = None
                else:
                    self._free.append(page)


def in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count
