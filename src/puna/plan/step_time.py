"""How long an optimizer step takes, from its kernels and messages; no torch.

Messages of sharding travel while blocks are computed, as FSDP2 sends them: the weights of the next block while one is
computed, and the gradients of the one before (Zhao et al. 2023, section 3.3; torch.distributed.fsdp.fully_shard). The
time that a message takes beyond a block's is waited for. So are messages without computation beside them: the ends of
the model and its first block before the first kernel, and the gradients of the first block and of the ends after the
backward pass. The backward pass begins with a block whose weights are still there. All messages of tensor and context
parallelism are waited for.
"""

from dataclasses import dataclass

from puna.plan.kernels import (
    Rates,
    Work,
    block_again,
    block_backward,
    block_forward,
    copies,
    ends,
    float8_bytes,
    optimizer_step,
    recomputed_blocks,
)
from puna.plan.layout import Share
from puna.plan.links import Links, Sent
from puna.plan.messages import (
    block_messages,
    context_messages,
    end_messages,
    loss_messages,
    muon_messages,
    tensor_end_messages,
    tensor_messages,
)


@dataclass(frozen=True)
class Part:
    """Computation of one kind in an optimizer step, on one device."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """Messages of one kind in an optimizer step, of one device."""

    name: str
    node_bytes: float
    """Bytes sent to devices of its machine."""
    network_bytes: float
    """Bytes sent to other machines."""
    seconds: float
    """How long the messages take."""
    exposed_seconds: float
    """How long the device waits for them without computing."""


@dataclass(frozen=True)
class StepTime:
    """An optimizer step of one device; all devices take equally long."""

    parts: list[Part]
    traffic: list[Traffic]

    @property
    def computing_seconds(self) -> float:
        """How long kernels run."""
        return sum(part.seconds for part in self.parts)

    @property
    def exposed_seconds(self) -> float:
        """How long the device waits for others."""
        return sum(kind.exposed_seconds for kind in self.traffic)

    @property
    def seconds(self) -> float:
        """How long the whole step takes."""
        return self.computing_seconds + self.exposed_seconds


def step_time(share: Share, rates: Rates, links: Links) -> StepTime:
    """How long a step of the recipe takes in its layout."""
    found = [kind for kind in [*_weights(share, rates, links), *_waited_for(share, links)] if kind.seconds]
    return StepTime(_parts(share, rates), found)


def _parts(share: Share, rates: Rates) -> list[Part]:
    layers = share.recipe.model.n_layers
    blocks, edge = (block_forward(share) + block_backward(share)) * layers, ends(share)
    again, update, rounded = block_again(share) * layers, optimizer_step(share), sum(float8_bytes(share)) * layers
    passes = {
        "matrix products": Work(products=blocks.products + edge.products, float8=blocks.float8),
        "attention": Work(attention=blocks.attention),
        "norms, rotary turns, SwiGLU, residuals": Work(memory=blocks.memory - rounded),
        "float8 made of what products read": Work(memory=rounded),
        "loss, last norm and embedding": Work(memory=edge.memory),
        "copies of weights, sums of gradients": copies(share),
        "computed again": again,
    }
    parts = [Part(name, share.passes * work.seconds(rates)) for name, work in passes.items()]
    return [part for part in [*parts, Part("clipping and optimizer", update.seconds(rates))] if part.seconds]


def _weights(share: Share, rates: Rates, links: Links) -> list[Traffic]:
    """Weights gathered, gradients scattered and, once per step, replicas' sums."""
    layers, passes = share.recipe.model.n_layers, share.passes
    block = block_messages(share, links)
    edge = end_messages(share, links)
    waits = tensor_messages(share, links), context_messages(share, links)
    again = recomputed_blocks(share)
    forward = block_forward(share).seconds(rates) + sum(messages.forward.seconds for messages in waits)
    backward = (block_backward(share) + block_again(share)).seconds(rates)
    backward += sum(messages.backward.seconds + again * messages.again.seconds for messages in waits)
    gathers = block.gather * share.block_gathers + edge.gather
    reduces = block.reduce * layers + edge.reduce
    late = max(0.0, block.gather.seconds - forward) * (layers - 1)
    first = edge.gather.seconds + block.gather.seconds
    end = block.reduce.seconds + edge.reduce.seconds
    # Backward, a block's weights, the gradients of another and once per step their sums share the time of one block.
    usual = block.gather.seconds + block.reduce.seconds
    over = max(0.0, usual - backward) * (layers - 1)
    last = max(0.0, usual + block.replicas.seconds - backward) * (layers - 1) - over
    part = block.gather.seconds / usual if usual else 0.0
    return [
        _traffic("weights gathered", gathers * passes, (first + late + part * over) * passes),
        _traffic("gradients scattered to their weights", reduces * passes, (end + (1 - part) * over) * passes),
        _traffic(
            "gradients of replicas",
            block.replicas * layers + edge.replicas,
            last + block.replicas.seconds + edge.replicas.seconds,
        ),
    ]


def _waited_for(share: Share, links: Links) -> list[Traffic]:
    """The time of messages that nothing is computed beside."""
    layers, passes, again = share.recipe.model.n_layers, share.passes, recomputed_blocks(share)
    streams = {"tensor parallelism": tensor_messages(share, links), "keys and values": context_messages(share, links)}
    sent = {
        name: (each.forward + each.backward + each.again * again) * (layers * passes) for name, each in streams.items()
    }
    sent["tensor parallelism"] += tensor_end_messages(share, links) * passes
    sent |= {"loss": loss_messages(share, links) * passes, "Muon's matrices": muon_messages(share, links)}
    return [_traffic(name, each, each.seconds) for name, each in sent.items()]


def _traffic(name: str, sent: Sent, exposed: float) -> Traffic:
    return Traffic(name, sent.node_bytes, sent.network_bytes, sent.seconds, exposed)
