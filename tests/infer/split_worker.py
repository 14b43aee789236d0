"""One of the processes that share a model: `torchrun split_worker.py OUT`. The main one writes what it answered."""

import json
import sys
from pathlib import Path

import torch.distributed as dist
from adapting import random_adapter
from model_source import ModelSource, random_model

from puna.config.recipe import ModelConfig
from puna.infer.adapters import products_of
from puna.infer.engine import Engine
from puna.infer.kernel_runner import KernelRunner
from puna.infer.operator_runner import OperatorRunner
from puna.infer.part import PartSource, add_up_outputs
from puna.infer.requests import Request, Sampling
from puna.infer.runner import Runner
from puna.infer.source import Source
from puna.infer.tensor_parallel import LeadingRunner, follow
from puna.model.llama import Llama
from puna.ops.quantized import WeightKind
from puna.parallel.world import end_process

CONFIG = ModelConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, ffn_dim=128, vocab_size=301, context=64, init_std=0.2
)  # fmt: skip
REQUESTS = [
    Request(
        prompt=(1, *range(5, 5 + length)), max_tokens=12, sampling=Sampling(temperature=heat), logprobs=0,
        adapter=adapter,
    )
    for length, heat, adapter in ((3, 0.0, ""), (20, 0.0, ""), (7, 1.0, ""), (20, 0.0, "polite"), (9, 0.0, "terse"))
]  # fmt: skip
ADAPTERS = {
    "polite": random_adapter(CONFIG, rank=5, seed=1), "terse": random_adapter(CONFIG, seed=2, magnitudes=True)
}  # fmt: skip


def runners(source: Source) -> dict[str, Runner]:
    """By name, one of each kind."""
    model = Llama(source.config).requires_grad_(False)
    model.load_state_dict({name: source.tensor(name) for name in model.state_dict()})
    if isinstance(source, PartSource):
        add_up_outputs(model, source)
    adapters = {name: products_of(adapter, source, name=name) for name, adapter in ADAPTERS.items()}
    found: dict[str, Runner] = {"operators": OperatorRunner(model, pages=20, adapters=adapters)}
    for kind in (WeightKind.FLOAT32, WeightKind.INT8):
        found[kind.value] = KernelRunner(source, kind, pages=20, adapters=adapters)
    return found


def answers(runner: Runner) -> list[list[tuple[int, float]]]:
    """Tokens and log-probabilities of every request."""
    engine = Engine(runner)
    again = Request(prompt=(*REQUESTS[1].prompt[:19], 9), max_tokens=3, logprobs=0)
    done = engine.generate(REQUESTS) + engine.generate([again])
    assert done[-1].cached_tokens == 19  # a page that was full in part was copied on all processes
    return [[(token.id, token.logprob or 0.0) for token in completion.tokens] for completion in done]


def main() -> None:
    """Answer all requests with every runner, split over the processes."""
    dist.init_process_group("gloo")
    found = {}
    for name, runner in runners(PartSource(ModelSource(random_model(CONFIG)))).items():
        if dist.get_rank():
            follow(runner, dist.group.WORLD)
        else:
            leading = LeadingRunner(runner, CONFIG, dist.group.WORLD)
            found[name] = answers(leading)
            leading.close()
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    end_process(0)
