"""Pre-training: every token of a data build's shards predicts the next one."""

from puna.config.recipe import Recipe
from puna.core.console import warn
from puna.core.errors import TrainError
from puna.core.files import write_json
from puna.core.layout import DataDir, RunDir
from puna.model.files import save_model
from puna.parallel.mesh import Mesh
from puna.parallel.world import World
from puna.shards.card import card_json, read_card, repeated, with_mixture
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.feed import TokenFeed
from puna.train.finish import save_whole
from puna.train.initial import OtherFormat
from puna.train.job import Found
from puna.train.samples import Sampler, Samples, check_prompts
from puna.train.session import Listener, Session
from puna.train.validate import Validation, Validator


class Pretraining:
    """The job of pre-training (`puna.train.job.Job`).

    Args:
        recipe: What to train.
        data: The directory of its token shards and tokenizer.
        sample: Writes the model's continuation of a prompt.
        weights: What `train.init_from` names, opened, where it is in another format than Puna's own.
    """

    def __init__(self, recipe: Recipe, data: DataDir, sample: Sampler, weights: OtherFormat | None = None) -> None:
        self.recipe = recipe
        self._data, self._sample, self._weights = data, sample, weights
        self.tokenizer: Tokenizer
        self._loader: Loader
        self._validator: Validator

    @property
    def final(self) -> Validation:
        """The last validation."""
        return self._validator.final

    def look(self, run: RunDir, world: World) -> str:
        """Look at every file; returns the fingerprint of the training data."""
        self.tokenizer = load_tokenizer(self._data.tokenizer)
        world.first(lambda: check_prompts(self.recipe, self.tokenizer))
        # The main process has looked at every file before the others open them.
        return world.first(lambda: open_data(self.recipe, self._data, self.tokenizer, verify=True)[0].fingerprint)

    def open(self, run: RunDir, world: World, *, aside: bool) -> Recipe:
        """Open the shards; the recipe stays as it is."""
        self._loader, heldout = open_data(self.recipe, self._data, self.tokenizer, verify=False)
        self._validator = Validator(heldout, self.tokenizer, self.recipe)
        return self.recipe

    def moved(self, run: RunDir) -> None:
        """Nothing: the shards are not in the run."""

    def session(self, recipe: Recipe, run: RunDir, world: World, mesh: Mesh, found: Found) -> Session:
        """The session of the recipe."""
        feed = TokenFeed(self._loader, recipe)
        return Session.open(recipe, world, feed, run=run, checkpoint=found, mesh=mesh, weights=self._weights)

    def describe(self, run: RunDir) -> None:
        """Copy the card of the data."""
        card = with_mixture(read_card(self._data), self.recipe)
        for sentence in repeated(card):
            warn(sentence)
        write_json(run.data_card, card_json(card))

    def listeners(self, session: Session) -> list[Listener]:
        """Validation and samples."""
        return [self._validator, Samples(self.recipe.samples, self.tokenizer, self.recipe.seed, self._sample)]

    def save(self, session: Session, run: RunDir, inputs: dict[str, str]) -> dict[str, str]:
        """Write the plain model, whose files' hashes are returned."""
        return save_whole(
            session, lambda: save_model(session.model, run.model, tokenizer=self.tokenizer, inputs=inputs)
        )


def open_data(
    recipe: Recipe, data: DataDir, tokenizer: Tokenizer, *, verify: bool
) -> tuple[Loader, dict[str, TokenShards]]:
    """The training sequences and the held-out shards.

    Args:
        recipe: What to train.
        data: The directory of its shards.
        tokenizer: The one that they were written with.
        verify: Whether to compare every file with its hash; its size is always compared.

    Raises:
        DataError: Shards are missing, damaged, of another tokenizer, or too few for the epochs that are allowed.
        TrainError: The tokenizer is of another size than the model.
    """
    # A model that goes on with its own tokenizer may have more rows than that has tokens.
    padded = recipe.tokenizer.taken_from is not None and tokenizer.vocab_size < recipe.model.vocab_size
    if tokenizer.vocab_size != recipe.model.vocab_size and not padded:
        raise TrainError(
            f"{data.tokenizer}: has {tokenizer.vocab_size} tokens, but model.vocab_size = {recipe.model.vocab_size}"
        )

    def open_split(split: str) -> dict[str, TokenShards]:
        return {
            source: TokenShards.open(data.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=verify)
            for source in recipe.mixture
        }

    loader = Loader(open_split("train"), recipe)
    loader.check_epochs(recipe.total_tokens // recipe.model.context, recipe.max_epochs)
    return loader, open_split("heldout")
