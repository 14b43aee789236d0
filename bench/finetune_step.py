"""One system's instruction tuning of one small model; prints one JSON line. Run by finetune.py, one process each.

Every system begins with the same weights and learns from the same examples, given as token ids and what is learned of
them, with the same AdamW. Axes as in puna.model.llama.
"""

import argparse
import dataclasses
import json
import math
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

D, LAYERS, HEADS, KV_HEADS, F, V, T = 384, 6, 6, 6, 1024, 4096, 512
EXAMPLES, ROWS = 32, 8
"""Conversations of a batch where each has a row of its own, and packs of a batch."""
MICRO = 2
"""Packs of a pass of Puna; with low-rank updates, whose memory is compared, all of them."""
LR, BETAS, CLIP = 1e-3, (0.9, 0.95), 1.0
RANK = 16

Examples = list[tuple[list[int], list[bool]]]
"""Token ids, and which of them are learned."""

HF_NAMES = {
    "tok_embeddings": "model.embed_tokens", "layers": "model.layers", "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm", "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj", "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj", "feed_forward.w3": "mlp.up_proj", "output": "lm_head",
}  # fmt: skip
"""Puna's names and those of transformers; the order of the rows is the same."""


def examples(count: int, seed: int, *, full: bool = False) -> Examples:
    """Conversations of one question and answer; a token is followed by one of four, so that there is much to learn.

    Args:
        count: How many.
        seed: Decides which.
        full: Whether each fills a sequence, for comparisons of memory.
    """
    follows = np.random.default_rng(0).integers(4, V, (V, 4))
    draw = np.random.default_rng(seed)
    made: Examples = []
    for _ in range(count):
        # Medians of 40 and 90 tokens, most of them short and a few long, as instruction data are.
        sizes = np.exp(draw.normal([math.log(40), math.log(90)], [0.7, 0.8])).astype(int) + 2
        prompt = min(int(sizes[0]), T // 2)
        length = T + 1 if full else min(prompt + int(sizes[1]), T)
        ids = [int(draw.integers(4, V))]
        while len(ids) < length:
            ids.append(int(follows[ids[-1], draw.integers(4)]))
        made.append((ids, [at >= prompt for at in range(length)]))
    return made


class Clock:
    """Times of steps, and the memory of the process."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.targets: list[int] = []
        self.positions: list[int] = []
        self.losses: list[float] = []
        self.before = resident()
        self.sgemm = [matmul_rate()]

    def figures(self) -> dict[str, Any]:
        """Rates over all steps but the first, which is a warm-up, and peaks."""
        seconds = sum(self.seconds[1:])
        return {
            "seconds": self.seconds, "losses": self.losses,
            "target_tokens_per_second": sum(self.targets[1:]) / seconds,
            "tokens_per_second": sum(self.positions[1:]) / seconds,
            "share_learned": sum(self.targets[1:]) / sum(self.positions[1:]),
            "sgemm_flops": [*self.sgemm, matmul_rate()], "memory_before_bytes": self.before,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }  # fmt: skip


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def matmul_rate() -> float:
    """FLOP/s of square float32 matrix products of 1,024 now, the mean of eight."""
    left, right = torch.randn(2, 1024, 1024)
    torch.mm(left, right)
    started = time.perf_counter()
    for _ in range(8):
        torch.mm(left, right)
    return 8 * 2 * 1024**3 / (time.perf_counter() - started)


# Puna


def recipe_of(*, compiled: bool, lora: bool = False) -> Any:
    """The recipe, as `puna finetune` has it."""
    from puna.config.recipe import Recipe

    tuning: dict[str, Any] = {"epochs": 1.0}
    if lora:
        tuning |= {"method": "lora", "lora": {"rank": RANK, "alpha": 2.0 * RANK}}
    source = {"path": "unused", "include": ["*.jsonl"], "format": "conversations", "heldout_fraction": 0.1}
    return Recipe.model_validate(
        {
            "name": "bench", "seed": 1, "mixture": {"talks": 1.0}, "data": {"sources": {"talks": source}},
            "model": {
                "dim": D, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KV_HEADS, "ffn_dim": F, "vocab_size": V,
                "context": T,
            },
            "train": {
                "tokens": 1000 * ROWS * T, "batch_tokens": ROWS * T, "precision": "fp32", "recompute": "none",
                "micro_batch_tokens": (ROWS if lora else MICRO) * T, "compile": compiled,
            },
            "optim": {
                "lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": 0.0, "clip_norm": CLIP,
                "warmup_steps": 0, "schedule": "constant",
            },
            "finetune": tuning,
        }
    )  # fmt: skip


def written(conversations: Examples, directory: Path) -> Any:
    """The examples in the files that a run of tuning reads."""
    from puna.finetune.part_writer import PartWriter, encode
    from puna.finetune.rendering import Outcome
    from puna.finetune.token_files import Document, Part
    from puna.finetune.token_files import Examples as TokenExamples

    outcomes = [
        (str(number), "", Outcome([Document(np.array(ids), np.array(learned))]))
        for number, (ids, learned) in enumerate(conversations)
    ]
    with PartWriter(directory, "train-00000", split="train", source="talks", width=1) as writer:
        writer.add(encode(outcomes))
    part = Part(**json.loads((directory / "train-00000.json").read_bytes()))
    return TokenExamples(directory, [part], ["talks"], 1)


class Vocabulary:
    """What a feed asks a tokenizer for."""

    vocab_size, stops = V, (2,)


def puna(kinds: list[str], conversations: Examples, heldout: Examples, directory: Path, steps: int) -> dict[str, Any]:
    """Steps of each kind by turns, in sessions of their own: `pretrain`, `tune`, `tune unmasked`, `lora`; `compiled`.

    A number of steps of 0 is an epoch.
    """
    from puna.finetune.feed import ExampleFeed
    from puna.finetune.plan import Plan
    from puna.parallel.world import joined
    from puna.train.session import Session
    from puna.train.synthetic import synthetic_session

    token_files = written(conversations, directory)
    clocks, sessions, takes = {}, {}, {}
    with joined() as world:
        for kind in kinds:
            recipe = recipe_of(compiled="compiled" in kind, lora="lora" in kind)
            plan = Plan(token_files, recipe)
            steps = steps or -(-plan.packs_of(1.0) // ROWS)
            clocks[kind] = Clock()
            if "pretrain" in kind:
                session = synthetic_session(recipe, world)
            else:
                feed = ExampleFeed(plan, recipe, Vocabulary())  # pyrefly: ignore[bad-argument-type]
                session = Session.open(
                    recipe, world, feed, model=_with_updates(recipe, world) if "lora" in kind else None
                )
            _fill(session.model)
            sessions[kind], takes[kind] = session, _steps(session, clocks[kind], kind)
        found = {kind: [_heldout(session, heldout)] for kind, session in sessions.items()}
        for _ in range(steps):
            for kind in kinds:
                next(takes[kind])
        for kind, session in sessions.items():
            found[kind].append(_heldout(session, heldout))
    return {kind: clocks[kind].figures() | {"heldout": found[kind]} for kind in kinds}


def _with_updates(recipe: Any, world: Any) -> Any:
    """The model with low-rank updates."""
    from puna.model import lora
    from puna.parallel.apply import build_model
    from puna.parallel.mesh import build_mesh

    model = build_model(recipe, build_mesh(recipe.parallel, world), world.device)
    lora.apply(model, recipe.finetune, recipe.seed)
    return model


def _steps(session: Any, clock: Clock, kind: str) -> Iterator[None]:
    """Steps of a session, timed."""
    with session.batches() as passes:
        counted = _Counted(passes, masked="unmasked" not in kind)
        while True:
            started, before = time.perf_counter(), counted.targets
            outcome = session.step(counted)
            clock.seconds.append(time.perf_counter() - started)
            clock.losses.append(outcome.loss.item())
            clock.targets.append(counted.targets - before)
            clock.positions.append(ROWS * T)
            yield


class _Counted:
    """Passes whose targets are counted, with or without the masks of their documents."""

    def __init__(self, passes: Iterator[Any], *, masked: bool) -> None:
        self._passes, self._masked = passes, masked
        self.targets = 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> Any:
        batch = next(self._passes)
        self.targets += int((batch.targets_BT >= 0).sum())
        return batch if self._masked else dataclasses.replace(batch, documents_BT=None, positions_BT=None)


def weights() -> dict[str, Tensor]:
    """The weights that all systems begin with, by Puna's names."""
    draw = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": (V, D), "output.weight": (V, D), "norm.weight": (D,)}
    kv = D // HEADS * KV_HEADS
    for layer in range(LAYERS):
        sizes = {
            "attention.wq": (D, D), "attention.wk": (kv, D), "attention.wv": (kv, D), "attention.wo": (D, D),
            "feed_forward.w1": (F, D), "feed_forward.w2": (D, F), "feed_forward.w3": (F, D),
            "attention_norm": (D,), "ffn_norm": (D,),
        }  # fmt: skip
        shapes |= {f"layers.{layer}.{name}.weight": shape for name, shape in sizes.items()}
    return {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=draw) * 0.02
        for name, shape in shapes.items()
    }


@torch.no_grad()
def _fill(model: Any) -> None:
    stored = weights()
    for name, parameter in model.named_parameters():
        name = name.replace("_checkpoint_wrapped_module.", "").replace("_orig_mod.", "")
        if name in stored:
            parameter.copy_(stored[name])


def _heldout(session: Any, conversations: Examples) -> float:
    """The mean loss of what is learned of the conversations, each alone."""
    from puna.parallel.objective import Passed

    nats = targets = 0.0
    with torch.compiler.set_stance("force_eager"), session.objective.passes():
        for ids, learned in conversations:
            targets_T = torch.tensor(ids[1:]).where(torch.tensor(learned[1:]), -1)
            losses_BP = session.objective.measure(
                Passed(inputs_BT=torch.tensor([ids[:-1]]), targets_BT=targets_T[None])
            )
            nats, targets = nats + losses_BP.sum().item(), targets + int((targets_T >= 0).sum())
    return nats / targets


# TRL and PEFT


def trl(kind: str, conversations: Examples, heldout: Examples, directory: Path, steps: int) -> dict[str, Any]:
    """TRL's SFTTrainer: `padded`, `packed`, or `lora` by PEFT; a number of steps of 0 is an epoch."""
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    clock = Clock()
    model = _llama()
    before = _heldout_of(model, heldout)
    pieces = Tokenizer(models.WordLevel({f"t{token}": token for token in range(V)}, unk_token="t0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="t0", eos_token="t2", bos_token="t1")
    rows = [{"input_ids": ids, "completion_mask": list(map(int, learned))} for ids, learned in conversations]
    a_pass = {"padded": 8, "packed": 1, "lora": ROWS}[kind]
    config = SFTConfig(
        output_dir=str(directory / "trl"), per_device_train_batch_size=a_pass,
        gradient_accumulation_steps=(EXAMPLES if kind == "padded" else ROWS) // a_pass, num_train_epochs=1,
        max_steps=steps or -1, learning_rate=LR, lr_scheduler_type="constant", warmup_steps=0, adam_beta1=BETAS[0],
        adam_beta2=BETAS[1], weight_decay=0.0, max_grad_norm=CLIP, bf16=False, use_cpu=True,
        gradient_checkpointing=False, packing=kind == "packed", max_length=T + 1 if kind == "lora" else T,
        completion_only_loss=True, report_to=[], logging_steps=1, save_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=False, seed=1,
    )  # fmt: skip

    class Counting(SFTTrainer):
        """Counts what the model is given."""

        targets = positions = 0

        def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
            Counting.targets += int((inputs["labels"][:, 1:] != -100).sum())
            Counting.positions += inputs["input_ids"].numel()
            return super().compute_loss(model, inputs, *arguments, **options)

    class Timing(TrainerCallback):
        """Times the optimizer steps."""

        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            self.started, self.targets, self.positions = time.perf_counter(), Counting.targets, Counting.positions

        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            clock.seconds.append(time.perf_counter() - self.started)
            clock.targets.append(Counting.targets - self.targets)
            clock.positions.append(Counting.positions - self.positions)

    options: dict[str, Any] = {}
    if kind == "lora":
        options["peft_config"] = LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM", bias="none"
        )
    trainer = Counting(
        model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        callbacks=[Timing()], **options,
    )  # fmt: skip
    trainer.train()
    clock.losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {kind: clock.figures() | {"heldout": [before, _heldout_of(trainer.model, heldout)]}}


def _llama() -> Any:
    """The model in transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        intermediate_size=F, vocab_size=V, max_position_embeddings=T, attn_implementation="sdpa", use_cache=False,
        rms_norm_eps=1e-6, tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    stored = {}
    for name, weight in weights().items():
        for ours, theirs in HF_NAMES.items():
            name = name.replace(ours, theirs)
        stored["model.norm.weight" if name == "norm.weight" else name] = weight
    model = LlamaForCausalLM(config)
    model.load_state_dict(stored, strict=True)
    return model


@torch.no_grad()
def _heldout_of(model: Any, conversations: Examples) -> float:
    nats = targets = 0.0
    model.eval()
    for ids, learned in conversations:
        targets_T = torch.tensor(ids[1:]).where(torch.tensor(learned[1:]), -100)
        logits_TV = model(input_ids=torch.tensor([ids[:-1]])).logits[0]
        nats += torch.nn.functional.cross_entropy(logits_TV, targets_T, reduction="sum").item()
        targets += int((targets_T >= 0).sum())
    model.train()
    return nats / targets


def main() -> None:
    """Learn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=("puna", "trl"))
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--examples", type=int, default=5 * EXAMPLES)
    parser.add_argument("--steps", type=int, default=0, help="0 is an epoch")
    parser.add_argument("--full", action="store_true", help="conversations that each fill a sequence")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    conversations = examples(arguments.examples, 1, full=arguments.full)
    heldout = examples(16, 2)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.system == "puna":
            figures = puna(arguments.kinds, conversations, heldout, Path(folder), arguments.steps)
        else:
            figures = trl(arguments.kinds[0], conversations, heldout, Path(folder), arguments.steps)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"system": arguments.system, "figures": figures, **about}))


if __name__ == "__main__":
    main()
