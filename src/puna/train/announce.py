"""What a run says of itself before its first step: what is trained, on what, and how."""

import torch

from puna.core.console import warn
from puna.core.units import counted, format_count
from puna.ops.attention import attention_backend
from puna.plan.count import parameters
from puna.train.optimizer import describe_groups
from puna.train.samples import can_sample
from puna.train.session import Session

_MOST_BF16_PASSES = 32
"""The sum of this many gradients in bfloat16 is off by less than 0.4 %, its rounding; the sum of 256 by 2 %."""


def announce(session: Session) -> None:
    """Say what is about to be trained, and how."""
    recipe, device, train = session.recipe, session.device, session.recipe.train
    left = train.tokens - recipe.total_tokens
    session.say(
        f"{recipe.name}: {format_count(parameters(recipe.model).total)} parameters, "
        f"{format_count(recipe.total_tokens)} tokens in {counted(recipe.total_steps, 'step')} of "
        f"{train.batch_tokens} tokens, "
        f"{train.precision}{' with float8 products' if train.float8 else ''}"
    )
    if left:
        session.say(f"train.tokens = {train.tokens}: the last {left} do not fill a batch and are left out")
    session.say(f"{device.name}: {device.peak_flops / 1e9:.0f} GFLOP/s at best ({device.peak_source})")
    session.say(
        f"{session.mesh.describe()}; {counted(session.passes, 'pass', 'passes')} of {train.micro_batch_tokens} tokens "
        f"per device and step; recompute {train.recompute}, {'compiled' if train.compile else 'eager'}"
    )
    dtype = torch.float32 if train.precision == "fp32" else torch.bfloat16
    kind = session.world.device.type
    # A device that shares its sequences works on two parts of each, whose queries come after other devices' keys.
    parts = 2 * session.mesh.context if session.mesh.context > 1 else 1
    masked = train.document_mask or (parts > 1 and train.compile)
    name, reason = attention_backend(kind, dtype, recipe.model.context // parts, masked)
    session.say(f"attention: {name} ({reason})")
    for line in describe_groups(session.model, session.optimizer):
        session.say(line)
    if train.precision == "bf16-stochastic" and session.passes > _MOST_BF16_PASSES and session.world.main:
        warn(
            f"gradients of {session.passes} passes per step are added up in bfloat16, which loses small ones; raise "
            "train.micro_batch_tokens, use more devices, or train.precision = 'bf16'"
        )
    if recipe.samples.prompts and not can_sample(session.mesh) and session.world.main:
        warn("no samples are written while parallel.tensor or parallel.context is above 1; `puna generate` will write")
