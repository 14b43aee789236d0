"""What training costs on one GPU, in ten minutes that may be stopped anywhere.

Each line of output is a JSON object that stands for itself; a short table follows where nothing stopped it, and
`--record` writes all of it to bench/results/. Sections, in the order of what one would regret not to know:

    ceilings     matrix products of the models' shapes, attention, a copy: what the rest is measured against
    waits        one real optimizer step with every wait of the host for the device listed; then where its time goes
    1b           tokens/s, MFU and memory beside `puna plan`, by micro-batch and precision; pass and update apart
    7b           the same for 7B, float8 included
    peers        transformers' LLaMA, compiled, in the same run
    toggles      1B again with one thing taken back at a time
    masks        attention within documents
    checkpoint   how long training stands still for a checkpoint
    demo         a run of real data on the GPU beside the same on the CPU, and `puna verify-resume` (needs --data)

MFU counts 6 FLOPs per matrix parameter and causal attention, over the datasheet's dense bfloat16 rate.

    python bench/gpu.py --record
    python bench/gpu.py --only 1b,7b
    python bench/gpu.py --dry            tiny models on a CPU: does every line run?
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from gpu_ceilings import ceilings
from gpu_common import BATCH, Bench, T, clean, session_of
from gpu_peers import peers

from puna.config.recipe import Recipe
from puna.core.files import write_json
from puna.core.records import commit, machine, packages
from puna.parallel.world import World, joined
from puna.plan.count import flops_per_token, parameters
from puna.plan.layout import CPU, GPU, share_of
from puna.plan.memory import plan_memory
from puna.train.session import Session
from puna.train.synthetic import on_random_tokens

RESULTS = Path(__file__).parent / "results"


def waits(bench: Bench) -> None:
    """The waits of a step, and its time by kind of work."""
    with session_of(bench, bench.recipe("1b", 16_384)) as session:
        batches = on_random_tokens(session)
        for _ in range(2):
            session.step(batches)
        bench.device.synchronize()
        if bench.device.on_gpu:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    session.step(batches)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            found = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchronizing" in str(w.message)]
            bench.say("waits of a step", passes=session.passes, waits=found)
        activities = [torch.profiler.ProfilerActivity.CPU]
        if bench.device.on_gpu:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        started = time.perf_counter()
        with torch.profiler.profile(activities=activities) as profile:
            session.step(batches)
            bench.device.synchronize()
        elapsed = time.perf_counter() - started
        kinds: dict[str, float] = {}
        for event in profile.events():
            if event.device_type == torch.autograd.DeviceType.CUDA:
                kinds[_kind(event.name)] = kinds.get(_kind(event.name), 0.0) + event.self_device_time_total / 1e3
        bench.say("time of a step, ms", elapsed_profiled=1e3 * elapsed, **dict(sorted(kinds.items())))
        if bench.device.on_gpu:
            rows = [e for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
            for event in sorted(rows, key=lambda event: -event.self_device_time_total)[:24]:
                bench.say("kernel", name=event.key[:90], count=event.count, ms=event.self_device_time_total / 1e3)


def _kind(name: str) -> str:
    name = name.lower()
    words = {
        "attention": ("sdpa", "fmha", "flash", "attention", "flex"), "compiled": ("triton_",),
        "products": ("nvjet", "gemm", "cutlass"), "copies": ("memcpy", "copy"), "fills": ("memset", "fill"),
        "optimizer": ("adam",),
    }  # fmt: skip
    return next((kind for kind, marks in words.items() if any(mark in name for mark in marks)), "other")


def step_figures(
    bench: Bench, recipe: Recipe, *, steps: int = 2, shapes_repeat: bool = True, **said: Any
) -> dict[str, Any]:  # fmt: skip
    """Time of a pass and of what a step adds, and what comes of it in batches of half a million tokens."""
    try:
        with session_of(bench, recipe, shapes_repeat=shapes_repeat) as session:
            figures = _timed(bench, session, steps)
    except torch.OutOfMemoryError as error:
        bench.say("step", **said, problem=str(error).splitlines()[0][:100])
        return {}
    bench.say("step", **said, **figures)
    return figures


def _timed(bench: Bench, session: Session, steps: int) -> dict[str, Any]:
    """Steps of one pass and of four: the difference is three passes."""
    recipe, batches = session.recipe, on_random_tokens(session)
    update_only = recipe.train.micro_batch_tokens
    started = time.perf_counter()
    for _ in range(2):
        session.step(batches)
    bench.device.synchronize()
    first = time.perf_counter() - started
    session.recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_tokens": update_only})})
    short = bench.milliseconds(lambda: session.step(batches), runs=steps + 1, warm=1)
    session.recipe = recipe
    long = bench.milliseconds(lambda: session.step(batches), runs=steps, warm=0)
    session.step(batches)
    session.step(batches)
    time.sleep(0 if bench.dry else long / 1e3)  # the device is in the middle of the second one
    power = bench.power()
    bench.device.synchronize()
    one_pass = (long - short) / (session.passes - 1)
    update = max(0.0, short - one_pass)
    flops = flops_per_token(recipe.model, recipe.model.context)["causal"] * recipe.train.micro_batch_tokens
    passes = BATCH * recipe.model.context // T / recipe.train.micro_batch_tokens
    whole = passes * one_pass + update
    peak = bench.device.peak_flops / 1e3
    planned = plan_memory(share_of(recipe, 1, GPU if bench.device.on_gpu else CPU)).peak.bytes
    return {
        "micro_batch_tokens": recipe.train.micro_batch_tokens,
        "precision": recipe.train.precision,
        "recompute": recipe.train.recompute,
        "float8": recipe.train.float8,
        "pass_ms": one_pass,
        "update_ms": update,
        "tokens_per_second": 1e3 * passes * recipe.train.micro_batch_tokens / whole,
        "mfu": passes * flops / whole / peak,
        "mfu_of_a_pass": flops / one_pass / peak,
        "memory_gib": bench.device.peak_memory_bytes() / 2**30,
        "planned_gib": planned / 2**30,
        "first_two_steps_s": first,
        **power,
    }


def one_b(bench: Bench) -> None:
    """1B by micro-batch and precision."""
    for micro in (8192, 16_384, 32_768):
        step_figures(bench, bench.recipe("1b", micro), size="1b", system="puna")
    step_figures(bench, bench.recipe("1b", 16_384, precision="bf16-stochastic"), size="1b", system="puna")
    if not bench.dry:
        step_figures(bench, bench.recipe("1b", 16_384, float8=True), size="1b", system="puna")


def seven_b(bench: Bench) -> None:
    """7B as one GPU can hold it."""
    for micro, train in (
        (8192, {"precision": "bf16-stochastic"}),
        (16_384, {"precision": "bf16-stochastic"}),
        (2048, {"precision": "bf16"}),
        (4096, {"precision": "bf16", "recompute": "llama"}),
        (8192, {"precision": "bf16-stochastic", "float8": True}),
    ):
        if not (bench.dry and "float8" in train):
            step_figures(bench, bench.recipe("7b", micro, **train), size="7b", system="puna")


def toggles(bench: Bench) -> None:
    """1B with one thing at a time as it would be without it."""
    recipe = bench.recipe("1b", 16_384)
    step_figures(bench, recipe, size="1b", system="puna", toggle="none")

    chunk = bench.recipe("1b", 16_384, loss_chunk_tokens=1024)
    step_figures(bench, chunk, size="1b", system="puna", toggle="loss chunks of 1,024")
    # What is cached of compiled code does not know of attention's order.
    with torch._functorch.config.patch(enable_autograd_cache=False):
        step_figures(bench, recipe, shapes_repeat=False, size="1b", system="puna", toggle="flash attention")
    eager = bench.recipe("1b", 16_384, compile=False)
    step_figures(bench, eager, size="1b", system="puna", toggle="eager")
    step_figures(bench, recipe, size="1b", system="puna", toggle="none, again")


def masks(bench: Bench) -> None:
    """Attention within documents."""
    step_figures(bench, bench.recipe("1b", 16_384, document_mask=True), size="1b", system="puna", mask="documents")


def checkpoint(bench: Bench) -> None:
    """How long training stands still for a checkpoint of 1B, the first one and the second."""
    from puna.core.layout import RunDir
    from puna.train.saver import Saver

    with session_of(bench, bench.recipe("1b", 16_384)) as session, tempfile.TemporaryDirectory() as folder:
        batches = on_random_tokens(session)
        for _ in range(2):
            session.step(batches)
        with Saver(RunDir(Path(folder) / "run"), session.recipe.checkpoint, bench.world) as saver:
            session.saver = saver  # whose copies the next update waits for
            for number in range(2):
                bench.device.synchronize()
                session.state.step = number + 1
                still = saver.save(session.state, session.model, session.optimizer)
                started = time.perf_counter()
                session.step(batches)
                bench.device.synchronize()
                during = time.perf_counter() - started
                started = time.perf_counter()
                saver.wait()
                written = time.perf_counter() - started + during
                steps = bench.milliseconds(lambda: session.step(batches), runs=2, warm=0) / 1e3
                size = parameters(session.recipe.model).total * 12 / 2**30
                bench.say(
                    "checkpoint", number=number + 1, gib=size, still_s=still, step_while_writing_s=during,
                    step_s=steps, written_after_s=written,
                )  # fmt: skip


def demo(bench: Bench, data: Path | None) -> None:
    """Forty steps of the demo's data on the CPU and on the GPU, and the proof that a run resumes exactly."""
    if data is None:
        bench.say("demo", problem="no --data")
        return
    with tempfile.TemporaryDirectory() as folder:
        losses: dict[str, list[float]] = {}
        size = ["train.tokens=81920", "optim.warmup_steps=10", "train.log_every=1", "samples.prompts=[]"]
        size += ["checkpoint.every_steps=10"]
        for name, hidden, changes in (
            ("cpu", "", ["train.precision=fp32", "train.compile=false"]),
            ("gpu-fp32", None, ["train.precision=fp32"]),
            ("gpu-bf16", None, ["train.precision=bf16"]),
        ):
            run = str(Path(folder) / name)
            environment = {} if hidden is None else {"CUDA_VISIBLE_DEVICES": hidden}
            command = ["train", "demo", *size, *changes, "--data-dir", str(data), "--run-dir", run]
            done = _puna(command, environment)
            if done.returncode:
                bench.say("demo", run=name, problem=done.stderr[-300:])
                continue
            lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
            losses[name] = [line["loss"] for line in lines if line["kind"] == "train"]
            bench.say("demo", run=name, steps=len(losses[name]), first=losses[name][0], last=losses[name][-1])
            if name != "cpu" and "cpu" in losses:
                apart = max(abs(a - b) for a, b in zip(losses["cpu"], losses[name], strict=True))
                bench.say("demo", run=name, largest_difference_to_cpu=apart)
        done = _puna(["verify-resume", str(Path(folder) / "gpu-bf16"), "--data-dir", str(data), "--steps", "10"], {})
        bench.say("verify-resume", run="gpu-bf16", exit=done.returncode, said=(done.stdout + done.stderr)[-240:])


def _puna(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "puna", *arguments], env=os.environ | environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


SECTIONS: dict[str, Callable[..., None]] = {
    "ceilings": ceilings, "waits": waits, "1b": one_b, "7b": seven_b, "peers": peers, "toggles": toggles,
    "masks": masks, "checkpoint": checkpoint, "demo": demo,
}  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    """The steps, one line each."""
    rows = [f"{'':<46}{'pass ms':>9}{'update':>8}{'tokens/s':>10}{'MFU':>7}{'GiB':>7}{'planned':>8}"]
    for line in lines:
        if line["what"] != "step":
            continue
        name = " ".join(
            str(line.get(key, "")) for key in ("size", "system", "micro_batch_tokens", "precision", "recompute")
        )
        name += " float8" if line.get("float8") else ""
        name += f" {line.get('toggle') or line.get('mask') or ''}"
        if "pass_ms" not in line:
            rows.append(f"{name:<46}  {line['problem']}")
            continue
        rows.append(
            f"{name:<46}{line['pass_ms']:>9.1f}{line['update_ms']:>8.1f}{line['tokens_per_second']:>10.0f}"
            f"{line['mfu']:>7.1%}{line['memory_gib']:>7.1f}{line.get('planned_gib', 0):>8.1f}"
        )
    return "\n".join(rows)


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    parser.add_argument("--minutes", type=float, default=10.0, help="no section begins after so long")
    parser.add_argument("--dry", action="store_true", help="tiny models on a CPU")
    parser.add_argument("--data", type=Path, help="the demo's data build")
    parser.add_argument("--record", action="store_true", help="write the record to bench/results/")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the record goes")
    parser.add_argument("--commit", help="of the sources, if they are not a checkout")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - SECTIONS.keys():
        parser.error(f"unknown section {sorted(unknown)[0]!r}; there are {', '.join(SECTIONS)}")
    if not arguments.dry and not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch can use; --dry runs every section on a CPU")
    torch.manual_seed(0)
    with joined() as world:
        if arguments.dry:
            world = World(0, 1, torch.device("cpu"), None)
        bench = Bench(world, dry=arguments.dry, until=60 * arguments.minutes)
        bench.say("machine", device=bench.device.name, torch=torch.__version__, cuda=torch.version.cuda or "")
        for name in chosen:
            if time.perf_counter() - bench.began > bench.until:
                bench.say("left out", section=name, why=f"{arguments.minutes:g} minutes are over")
                continue
            try:
                SECTIONS[name](bench, *([arguments.data] if name == "demo" else []))
            except Exception as error:
                if arguments.dry:
                    raise
                traceback.print_exc()
                bench.say("failed", section=name, error=str(error)[:300])
            clean(bench)
    print(table(bench.lines), file=sys.stderr)
    if arguments.record:
        now = datetime.now(UTC)
        record = {
            "schema": 1,
            "benchmark": "gpu",
            "what": "training of 1B and 7B LLaMA at T 2048 on one GPU; MFU over the datasheet's dense bfloat16 rate",
            "command": "python bench/gpu.py " + " ".join(sys.argv[1:]),
            "commit": arguments.commit or commit(),
            "date": now.isoformat(timespec="seconds"),
            "machine": machine(),
            "packages": packages(),
            "device": bench.device.name,
            "lines": bench.lines,
        }
        path = arguments.out / f"gpu_{now:%Y-%m-%d}.json"
        write_json(path, record)
        print(f"record: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
