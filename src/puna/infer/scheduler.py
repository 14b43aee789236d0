"""Which rows the next step computes: first one for every sequence that writes, then pieces of prompts.

Sequences are served in the order in which they came. A prompt is read in chunks of whatever the step has room for, so
that a long one does not hold up those who write. When the pages run out, prefixes that nobody uses make room first
(`Pages` does that); then the youngest running sequence is put aside: its pages go, its tokens stay, and when there is
room again all of them are computed once more. What it writes does not change by that (see `sampling`).

Pages of a prompt are made known when they are scheduled, not when they are computed: a runner writes the keys of all
rows of a step before any row reads, so a sequence that begins alike can use them in the very same step. This is how the
samples of one request, or many continuations of one context, share the work of their prompt. A page that is shared only
in part is copied at the beginning of a step, so it must have been computed in an earlier one.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from puna.infer.grammars import GuideState
from puna.infer.pages import Pages, Prefix
from puna.infer.requests import Request, Token
from puna.infer.sampling import Draw
from puna.infer.stops import Text


@dataclass(eq=False, slots=True)
class Sequence:
    """One sample of a request on its way."""

    request: Request
    number: int
    """The request's number in the engine."""
    sample: int
    """Which sample of the request, from 0."""
    tokens: list[int]
    """The prompt and what is written so far."""
    longest: int
    """Tokens that it may have in the end."""
    text: Text
    scored: list[Token]
    """Log-probabilities of the prompt so far; all samples of a request share the list, and the first one fills it."""
    instead: list[Token] = field(default_factory=list)
    """Log-probabilities of `Request.instead`."""
    adapter: int = -1
    """The number of its adapter in `Runner.adapters`; -1 for none."""
    guide: GuideState | None = None
    """How far the text has come in the grammar of `Request.guide`."""
    slot: int = -1
    """Its row of the page tables; -1 while it waits."""
    pages: list[int] = field(default_factory=list)
    computed: int = 0
    """Positions whose keys and values lie in its pages."""
    cached: int = 0
    """Positions of the prompt that were found in the cache when it was first admitted."""
    known: int = 0
    """Its pages that are known to `Pages`, from the first on."""
    prefix: Prefix = ""
    """What `Pages` calls the text up to the end of these pages."""
    tabled: int = 0
    """Its pages that stand in the page tables."""
    drafted: int = 0
    """Positions whose keys and values a draft model has computed; 0 until it has looked what it finds in the pages."""
    admitted: bool = False
    written: list[Token] = field(default_factory=list)
    ended: Token | None = None
    """The stop token that ended its text."""
    proposed: int = 0
    accepted: int = 0

    @property
    def target(self) -> int:
        """Positions to compute before anything more can be known of it; the last token only if something follows it."""
        return len(self.tokens) - (self.request.max_tokens == 0)

    @property
    def next_scored(self) -> int:
        """The first position of the prompt whose log-probability is still wanted; behind the text's end if none is."""
        request = self.request
        position = request.scored_from + len(self.scored)
        wanted = request.prompt_logprobs is not None and self.sample == 0 and position < len(request.prompt)
        return position if wanted else len(self.tokens)

    def draw(self, guessed: list[int]) -> Draw:
        """How the token behind the text and some guesses is drawn."""
        sampling = self.request.sampling
        index = len(self.tokens) - len(self.request.prompt) + len(guessed)
        allowed = self.guide.allowed(guessed) if self.guide is not None else None
        if not sampling.adjusts:
            return Draw(sampling, sampling.seed + self.sample, index, allowed=allowed)
        counts = Counter(self.tokens[len(self.request.prompt) :])
        counts.update(guessed)
        return Draw(sampling, sampling.seed + self.sample, index, self.request.prompt, counts, allowed)


@dataclass(slots=True)
class Chunk:
    """What a step computes of one sequence: `count` positions from `sequence.computed` on, then `drafts`."""

    sequence: Sequence
    count: int
    room: int = 0
    """Tokens that may be guessed to follow; only where the positions reach the end of the text."""
    drafts: list[int] = field(default_factory=list)
    """The guesses, at most `room`."""
    copied: tuple[int, int] | None = None
    """A page, and the one of the sequence that it is copied to before anything is computed."""


class Scheduler:
    """Sequences that wait and those that run.

    Args:
        pages: The cache's.
        max_rows: Rows of a step at most, and at least one for each of `max_running`.
        max_running: Sequences that run at once.
        drafts: Tokens that are guessed at a time.
    """

    def __init__(self, pages: Pages, *, max_rows: int, max_running: int, drafts: int = 0) -> None:
        self.pages = pages
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        """Those that have pages, the oldest first."""
        self.preemptions = 0
        """How often a sequence was put aside so far."""
        self._max_rows, self._drafts = max_rows, drafts
        self._slots = list(range(max_running - 1, -1, -1))

    def schedule(self) -> list[Chunk]:
        """The next step's chunks, with pages for all of their positions; empty only if nothing is left to do."""
        chunks: list[Chunk] = []
        rows = self._max_rows
        self.pages.settle()
        # All but the youngest have read their prompts, or the rows of an earlier step would not have come to it.
        for sequence in list(self.running):
            count = min(sequence.target - sequence.computed, rows)
            if count > 0 and self._make_room(sequence, sequence.computed + count):
                chunks.append(Chunk(sequence, count))
                rows -= count
        for chunk in chunks:
            self._make_known(chunk.sequence, chunk.sequence.computed + chunk.count)
        while rows and self.waiting and self._slots and self._admit(self.waiting[0]):
            sequence = self.waiting.popleft()
            self.running.append(sequence)
            source, found = self._part(sequence)
            sequence.computed += found
            if not sequence.admitted:
                sequence.cached, sequence.admitted = sequence.computed, True
            count = min(sequence.target - sequence.computed, rows)
            self._grow(sequence, sequence.computed + count)
            chunks.append(Chunk(sequence, count, copied=(source, sequence.pages[sequence.known]) if found else None))
            rows -= count
            self._make_known(sequence, sequence.computed + count)
        for chunk in chunks if self._drafts else ():
            rows -= self._give_room(chunk, rows)
        return chunks

    def finish(self, sequence: Sequence) -> None:
        """The sequence is done, or nobody wants it any more: its pages are free from now on."""
        if sequence.slot >= 0:
            self.running.remove(sequence)
            self._free(sequence)
        else:
            self.waiting.remove(sequence)

    def _make_room(self, sequence: Sequence, end: int) -> bool:
        """Pages up to a position; the youngest sequences are put aside for them, perhaps this one itself."""
        if sequence.slot < 0:  # it was put aside for an older one of this step
            return False
        while not self._grow(sequence, end):
            youngest = self.running.pop()
            self._free(youngest)
            self.waiting.appendleft(youngest)
            self.preemptions += 1
            if youngest is sequence:
                return False
        return True

    def _grow(self, sequence: Sequence, end: int) -> bool:
        """Give it pages up to a position, all or none."""
        more = -(-end // self.pages.page_size) - len(sequence.pages)
        if more > self.pages.available:
            return False
        sequence.pages += [self.pages.take() for _ in range(more)]
        return True

    def _admit(self, sequence: Sequence) -> bool:
        """Let it run, with the pages of its beginning that are known, if all of it that is there finds room."""
        found, prefix = self.pages.find(sequence.request.origin, sequence.tokens, self._findable(sequence))
        if -(-(len(sequence.tokens) + 1) // self.pages.page_size) - len(found) > self.pages.available and self.running:
            self.pages.release(found)
            return False
        sequence.slot = self._slots.pop()
        sequence.pages, sequence.known, sequence.prefix = found, len(found), prefix
        sequence.computed = len(found) * self.pages.page_size
        return True

    def _part(self, sequence: Sequence) -> tuple[int, int]:
        """A page to copy for what comes behind the pages found, and how many positions of it count."""
        # With a row to compute there is a step, and the copy is made.
        limit = min(self._findable(sequence), sequence.target - 1, sequence.computed + self.pages.page_size)
        if limit <= sequence.computed:
            return -1, 0
        return self.pages.find_part(sequence.prefix, sequence.tokens[sequence.computed : limit])

    @staticmethod
    def _findable(sequence: Sequence) -> int:
        """Positions that need not be computed if they are known.

        The last one is computed again in any case: its logits are wanted, and only keys and values are kept.
        """
        return min(sequence.target, sequence.next_scored - 1)

    def _make_known(self, sequence: Sequence, end: int) -> None:
        """Tell `Pages` of the pages that are full of tokens which this step or an earlier one computes."""
        size = self.pages.page_size
        while (sequence.known + 1) * size <= end:
            start = sequence.known * size
            tokens = tuple(sequence.tokens[start : start + size])
            sequence.prefix = self.pages.know(sequence.pages[sequence.known], sequence.prefix, tokens)
            sequence.known += 1

    def _give_room(self, chunk: Chunk, rows: int) -> int:
        """Rows for guesses behind a chunk that reaches the end of its text, as far as pages are left without force."""
        sequence = chunk.sequence
        if sequence.computed + chunk.count < len(sequence.tokens):
            return 0
        # The last token is never guessed at: the model's own choice after the guesses comes free.
        room = min(self._drafts, rows, sequence.longest - len(sequence.tokens) - 1)
        free = (len(sequence.pages) + self.pages.available) * self.pages.page_size - len(sequence.tokens)
        chunk.room = max(0, min(room, free))
        self._grow(sequence, len(sequence.tokens) + chunk.room)
        return chunk.room

    def _free(self, sequence: Sequence) -> None:
        end = min(sequence.computed, len(sequence.tokens))
        self._make_known(sequence, end)
        start = sequence.known * self.pages.page_size
        if start < end:
            self.pages.know(sequence.pages[sequence.known], sequence.prefix, tuple(sequence.tokens[start:end]))
        self.pages.release(sequence.pages)
        self._slots.append(sequence.slot)
        sequence.slot, sequence.pages = -1, []
        sequence.computed = sequence.drafted = sequence.known = sequence.tabled = 0
