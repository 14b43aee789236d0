"""Pre-training, top to bottom: prepare, step, log, validate, sample, save, finish.

The order of the data is a function of the step alone, so a resumed run needs nothing but its checkpoint, and ends with
the same bits as a run that nobody interrupted.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import TrainError
from puna.core.files import sha256_json, write_json
from puna.core.layout import DataDir, RunDir
from puna.core.records import Record
from puna.core.units import format_bytes, format_count, format_duration
from puna.data.card import read_card, with_mixture
from puna.data.loader import Loader
from puna.data.shards import TokenShards
from puna.model.count import flops_per_token, parameters
from puna.model.files import save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.ops.cross_entropy import linear_cross_entropy
from puna.tokenizer.tokenizer import Tokenizer
from puna.train import resume as resuming
from puna.train.checkpoint import TrainState, load_tensors, save_checkpoint
from puna.train.device import Device, find_device
from puna.train.display import Display
from puna.train.energy import estimate_energy
from puna.train.interrupt import Interrupt
from puna.train.metrics import Metrics
from puna.train.optimizer import build_optimizer, set_learning_rate
from puna.train.schedule import learning_rate
from puna.train.validate import Validation, validate

Sampler = Callable[[Llama, Tokenizer, str, int], str]
"""Continues a prompt with the model as it is now: model, tokenizer, prompt, seed -> text. Injected from above, because
generation is a sibling of training."""


@dataclass
class Session:
    """One process's part of a run: everything that the steps work with."""

    recipe: Recipe
    run: RunDir
    device: Device
    tokenizer: Tokenizer
    loader: Loader
    heldout: dict[str, TokenShards]
    model: Llama
    optimizer: torch.optim.AdamW
    state: TrainState
    metrics: Metrics
    sample: Sampler
    began: float = field(default_factory=time.perf_counter)
    rates: list[float] = field(default_factory=list)
    """Tokens per second of each step of this session."""

    @property
    def autocast(self) -> torch.autocast:
        """The context of forward passes: bfloat16 matrix products, or nothing."""
        return torch.autocast(
            self.device.torch_device.type, dtype=torch.bfloat16, enabled=self.recipe.train.precision == "bf16"
        )


def train(recipe: Recipe, data: DataDir, run: RunDir, *, resume: bool, force: bool, sample: Sampler) -> None:
    """Train the recipe's model on the data's shards and leave the plain model in the run's directory.

    Args:
        recipe: What to train.
        data: Where its token shards and tokenizer lie.
        run: Where checkpoints, metrics and the model go.
        resume: Go on from the newest checkpoint; nothing happens where the run is finished.
        force: Delete what the run's directory holds and start again.
        sample: Continues a prompt.

    Raises:
        DataError: Shards are missing or damaged, or of another tokenizer.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, or the loss stopped being finite.
        SystemExit: A signal came; the state is saved.
    """
    if resume and force:
        raise TrainError("--resume goes on with a run and --force deletes it; give one of them")
    tokenizer = Tokenizer.load(data.tokenizer)
    _check_prompts(recipe, tokenizer)
    loader, _ = _open_data(recipe, data, tokenizer, verify=False)
    if resume and resuming.is_finished(recipe, run, loader.fingerprint):
        say(f"{run.root}: trained already")
        return
    _, heldout = _open_data(recipe, data, tokenizer, verify=True)
    if not resume:
        resuming.begin(run, force=force)
    found = resuming.newest(recipe, run, loader.fingerprint)
    record = Record("train", config=recipe.model_dump(exclude_none=True))
    record.inputs = {"data": loader.fingerprint, "tokenizer": tokenizer.sha256}
    save_recipe(recipe, run.config)
    write_json(run.data_card, with_mixture(read_card(data), recipe))

    device = find_device(recipe.train.precision, recipe.energy)
    model = build_model(recipe, device)
    optimizer = build_optimizer(model, recipe.optim)
    state = TrainState(data_fingerprint=loader.fingerprint, recipe=record.config)
    if found:
        path, state = found
        load_tensors(path, model, optimizer)
        state.recipe = record.config
        say(f"resumed from {path} at step {state.step}")
    state.sessions += 1
    if recipe.train.compile:
        for block in model.layers:
            block.compile()

    with Metrics(run, state.step) as metrics, Interrupt() as interrupt:
        session = Session(
            recipe, run, device, tokenizer, loader, heldout, model, optimizer, state, metrics, sample
        )  # fmt: skip
        _announce(session)
        _run_steps(session, interrupt)
        final = _validate(session, final=True)
        _sample(session)
        _finish(session, record, final)
        if interrupt.signal is not None:
            raise SystemExit(interrupt.exit_code)


def _check_prompts(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Refuse before the first step what sampling would refuse in the middle of the run."""
    for prompt in recipe.samples.prompts:
        length = len(tokenizer.encode(prompt, bos=True))
        if length >= recipe.model.context:
            raise TrainError(
                f"samples.prompts: {prompt[:40]!r} is {length} tokens long, which leaves no room for an answer in "
                f"model.context = {recipe.model.context}"
            )


def build_model(recipe: Recipe, device: Device) -> Llama:
    """The recipe's decoder on the device, with its initial weights."""
    with torch.device("meta"):
        model = Llama(recipe.model)
    model.to_empty(device=device.torch_device)
    init_weights(model, recipe.seed)
    return model


def _open_data(
    recipe: Recipe, data: DataDir, tokenizer: Tokenizer, *, verify: bool
) -> tuple[Loader, dict[str, TokenShards]]:
    """The training sequences and the held-out shards; with `verify`, after every file was compared with its hash."""
    if not recipe.mixture:
        raise TrainError(
            f"recipe {recipe.name!r} names no data to train on",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    if tokenizer.vocab_size != recipe.model.vocab_size:
        raise TrainError(
            f"{data.tokenizer}: has {tokenizer.vocab_size} tokens, but model.vocab_size = {recipe.model.vocab_size}"
        )

    def open_split(split: str) -> dict[str, TokenShards]:
        return {
            source: TokenShards.open(data.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=verify)
            for source in recipe.mixture
        }

    loader = Loader(open_split("train"), recipe.mixture, recipe.model.context, recipe.seed)
    return loader, open_split("heldout")


def _announce(session: Session) -> None:
    recipe, device, train = session.recipe, session.device, session.recipe.train
    say(
        f"{recipe.name}: {format_count(parameters(recipe.model).total)} parameters, {format_count(train.tokens)} "
        f"tokens in {recipe.total_steps} steps of {train.batch_tokens} tokens, {train.precision}"
    )
    say(f"{device.name}: {device.peak_flops / 1e9:.0f} GFLOP/s at best ({device.peak_source})")


def _run_steps(session: Session, interrupt: Interrupt) -> None:
    recipe, state = session.recipe, session.state
    with Display(recipe, state.step) as display:
        while state.step < recipe.total_steps:
            loss, norm, lr = _timed_step(session)
            _check_finite(state.step, loss.item(), norm.item())
            done = state.step == recipe.total_steps
            if interrupt.signal is not None:
                _save(session)
                say(f"saved step {state.step}; `--resume` goes on from here")
                raise SystemExit(interrupt.exit_code)
            if state.step % recipe.train.log_every == 0 or done:
                _log(session, display, loss, norm, lr)
            display.advance()
            if not done and state.step % recipe.validation.every_steps == 0:
                _validate(session, final=False)
            if not done and state.step % recipe.samples.every_steps == 0:
                _sample(session)
            if state.step % recipe.checkpoint.every_steps == 0 or done:
                _save(session)


def _timed_step(session: Session) -> tuple[Tensor, Tensor, float]:
    """One optimizer step, timed: its loss, gradient norm and learning rate."""
    started = time.perf_counter()
    lr = learning_rate(session.state.step, session.recipe.optim, session.recipe.total_steps)
    loss, norm = train_step(session, lr)
    session.device.synchronize()
    session.state.step += 1
    seconds = time.perf_counter() - started
    session.state.train_seconds += seconds
    session.rates.append(session.recipe.train.batch_tokens / seconds)
    return loss, norm, lr


def train_step(session: Session, lr: float) -> tuple[Tensor, Tensor]:
    """One optimizer step on the batch of the current step: the mean loss (nats per token) and the gradient's norm."""
    recipe, model, device = session.recipe, session.model, session.device.torch_device
    rows = recipe.train.batch_tokens // recipe.model.context
    micro_rows = recipe.train.micro_batch_tokens // recipe.model.context
    first = session.state.step * rows
    loss = torch.zeros((), device=device)
    for start in range(first, first + rows, micro_rows):
        tokens_BT = torch.from_numpy(session.loader.batch(start, micro_rows)).to(device)
        inputs_BT, targets_N = tokens_BT[:, :-1], tokens_BT[:, 1:].flatten()
        with session.autocast:
            x_BTD = model.hidden(inputs_BT)
            total = linear_cross_entropy(
                x_BTD.flatten(0, 1), model.output.weight, targets_N, recipe.train.loss_chunk_tokens
            )
        mean = total / recipe.train.batch_tokens
        mean.backward()
        loss += mean.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_norm)
    set_learning_rate(session.optimizer, lr)
    session.optimizer.step()
    session.optimizer.zero_grad(set_to_none=True)
    return loss, norm


def _check_finite(step: int, loss: float, norm: float) -> None:
    """Stop before a checkpoint holds what no step can mend."""
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise TrainError(
            f"step {step}: the loss is {loss} and the gradient's norm {norm}",
            hint="lower optim.lr or raise optim.warmup_steps and start again with --force",
        )


def _log(session: Session, display: Display, loss: Tensor, norm: Tensor, lr: float) -> None:
    recipe, state = session.recipe, session.state
    rate = statistics.median(session.rates[-recipe.train.log_every :])
    session.metrics.write(
        "train", state.step, _tokens(session), loss=loss.item(), lr=lr, grad_norm=norm.item(), tokens_per_second=rate,
        seconds=state.train_seconds,
    )  # fmt: skip
    display.log(state.step, loss.item(), lr, rate)


def _validate(session: Session, *, final: bool) -> Validation:
    recipe, started = session.recipe, time.perf_counter()
    result = validate(
        session.model,
        session.heldout,
        [len(text) for text in session.tokenizer.token_bytes()],
        max_tokens=None if final else recipe.validation.tokens,
        micro_batch_tokens=recipe.train.micro_batch_tokens,
        chunk_tokens=recipe.train.loss_chunk_tokens,
        autocast=session.autocast,
    )
    seconds = time.perf_counter() - started
    session.metrics.write(
        "validation", session.state.step, _tokens(session), final=final, loss=result.loss,
        bits_per_byte=result.bits_per_byte, seconds=seconds,
    )  # fmt: skip
    figures = ", ".join(f"{source} {bits:.3f}" for source, bits in result.bits_per_byte.items())
    say(f"step {session.state.step}: bits per byte of held-out text: {figures}")
    return result


def _sample(session: Session) -> None:
    step = session.state.step
    for prompt in session.recipe.samples.prompts:
        with torch.compiler.set_stance("force_eager"):
            text = session.sample(session.model, session.tokenizer, prompt, session.recipe.seed)
        session.metrics.write("sample", step, _tokens(session), prompt=prompt, text=text)
        say(f"step {step}: {prompt}|{text}".replace("\n", " "))


def _save(session: Session) -> None:
    now = time.perf_counter()
    session.state.wall_seconds += now - session.began
    session.began = now
    save_checkpoint(
        session.run, session.state, session.model, session.optimizer, session.recipe.checkpoint.keep
    )  # fmt: skip


def _finish(session: Session, record: Record, final: Validation) -> None:
    recipe, run, state = session.recipe, session.run, session.state
    state.wall_seconds += time.perf_counter() - session.began
    device = session.device.measured_again()
    record.outputs = save_model(
        session.model, run.model, tokenizer_bytes=session.tokenizer.model_bytes, inputs=record.inputs
    )  # fmt: skip
    tokens = _tokens(session)
    rate = statistics.median(session.rates) if session.rates else tokens / state.train_seconds
    flops = flops_per_token(recipe.model, recipe.model.context)
    record.results = {
        "parameters": parameters(recipe.model).total,
        "tokens": tokens,
        "steps": state.step,
        "train_seconds": state.train_seconds,
        "wall_seconds": state.wall_seconds,
        "tokens_per_second": rate,
        "tokens_per_second_overall": tokens / state.wall_seconds,
        "peak_memory_bytes": device.peak_memory_bytes(),
        "device": device.name,
        "device_flops": device.peak_flops,
        "device_flops_source": device.peak_source,
        "mfu": {name: value * rate / device.peak_flops for name, value in flops.items()},
        "energy": estimate_energy(state.wall_seconds, device, recipe.energy),
        "sessions": state.sessions,
        "final": {"loss": final.loss, "bits_per_byte": final.bits_per_byte},
        "recipe_sha256": sha256_json(record.config),
    }
    record.write(run.record)
    say(
        f"trained {format_count(tokens)} tokens in {format_duration(state.wall_seconds)} at {format_count(rate)} "
        f"tokens/s, {record.results['mfu']['causal']:.0%} of the peak rate, "
        f"{format_bytes(device.peak_memory_bytes())} of memory; the model is in {run.model}"
    )


def _tokens(session: Session) -> int:
    return session.state.step * session.recipe.train.batch_tokens
