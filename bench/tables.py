"""The tables of the README and of the guide, made from the newest records in bench/results/.

    python bench/tables.py

rewrites the text between `<!-- table: NAME -->` and `<!-- end -->`; a test fails if one of them differs.
"""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from puna.config.load import load_recipe
from puna.core.units import format_bytes, format_carbon, format_count, format_duration, format_energy
from puna.plan.hardware import Gpu, Link
from puna.plan.links import Links
from puna.plan.plan import plan
from puna.plan.target import find_target, rates_of

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "bench"))  # also where this file is imported

import decode_tables  # noqa: E402
import evaluate_tables  # noqa: E402
import evaluated_tables  # noqa: E402
import finetune_tables  # noqa: E402
import hardware_tables  # noqa: E402
import parity_tables  # noqa: E402
import serve_tables  # noqa: E402


def newest(benchmark: str) -> dict[str, Any]:
    """The newest record of a benchmark."""
    return json.loads(max((ROOT / "bench" / "results").glob(f"{benchmark}_*.json")).read_text(encoding="utf-8"))


def origin(record: dict[str, Any]) -> str:
    """Where a record comes from, in one line."""
    machine = record["machine"]
    return (
        f"<sub>`{record['command']}`, commit {record['commit'][:10]}, {record['date'][:10]}, {machine['processor']}, "
        f"{machine['cores']} cores</sub>"
    )


def demo() -> str:
    """The demo's figures."""
    record = newest("demo")
    train, export = record["train"], record["export"]
    bits = train["final"]["bits_per_byte"]
    unigrams = {source["name"]: source["unigram_bits_per_byte"] for source in record["data"]["sources"]}
    rows = [
        ("from nothing to the report, packages installed", format_duration(record["seconds"])),
        ("parameters, tokens", f"{format_count(train['parameters'])}, {format_count(train['tokens'])}"),
        ("held-out prose (years ending in 5)", f"{bits['prose']:.3f} bits per byte; unigrams {unigrams['prose']:.2f}"),
        ("held-out code", f"{bits['code']:.3f} bits per byte; unigrams {unigrams['code']:.2f}"),
        (
            "training",
            f"{format_count(train['tokens_per_second'])} tokens/s, {train['mfu']['causal']:.0%} of the machine's sgemm "
            f"rate, {format_bytes(train['peak_memory_bytes'])}",
        ),
        (
            "export to Hugging Face",
            f"{export['weights']['identical']} of {export['weights']['tensors']} tensors bit-identical, "
            f"{export['tokenizer']['strings']} strings with equal tokens, logits within "
            f"{export['logits_max_abs_difference']:.0e} of {export['oracle']}",
        ),
        ("energy, estimated", f"{format_energy(train['energy']['kwh'])}, {format_carbon(train['energy']['kgco2eq'])}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| `puna run demo` on two cores | |\n|---|---|\n{table}\n\n{origin(record)}"


def newest_of_each(benchmark: str) -> list[dict[str, Any]]:
    """The newest record of each machine that a benchmark has run on, by the file names without their dates."""
    paths = sorted((ROOT / "bench" / "results").glob(f"{benchmark}_*.json"))
    found = {path.stem.rpartition("_")[0]: path for path in paths}
    return [json.loads(path.read_text(encoding="utf-8")) for path in found.values()]


_LEAD = {1: "the lead is that in tokens/s", 2: "the lead is that in shares of the sgemm rate beside each step"}
"""What the lead is in, by the schema of train_cpu's records."""


def train_cpu() -> str:
    """Training on CPUs beside the peers, processor by processor."""
    return "\n\n".join(_train_cpu_on(record) for record in newest_of_each("train_cpu"))


def _train_cpu_on(record: dict[str, Any]) -> str:
    """One processor's figures."""
    lines = [
        f"| {row['system']}, {row['mode']} | {row['tokens_per_second']:.0f} | "
        f"{row['tokens_per_second_min_max'][0]:.0f} to {row['tokens_per_second_min_max'][1]:.0f} | "
        f"{row['peak_memory_bytes'] / 2**30:.1f} GiB | {row['share_of_sgemm']:.0%} | "
        f"{row['puna_compiled_is_faster_by']:.2f} |"
        for row in sorted(record["rows"], key=lambda row: -row["tokens_per_second"])
    ]
    best = min(row["puna_compiled_is_faster_by"] for row in record["rows"] if row["system"] != "puna")
    note = f"; {record['note']}" if record.get("note") else ""
    head = (
        f"**{record['machine']['processor']}, {record['instructions']}{note}: {best:.2f} times the best peer**\n\n"
        "| system | tokens/s | range | peak memory | share of sgemm | Puna compiled is faster by |\n"
        "|---|---:|---:|---:|---:|---:|\n"
    )
    return (
        head
        + "\n".join(lines)
        + f"\n\n<sub>{record['what']}; medians of {len(record['rounds'])} rounds; "
        + f"{_LEAD[record['schema']]}.</sub><br>\n{origin(record)}"
    )


def samples() -> str:
    """What the demo's model wrote."""
    texts = [sample["prompt"] + sample["text"] for sample in newest("demo")["samples"]]
    return "```\n" + "\n\n".join(text.strip() for text in texts) + "\n```"


def policies() -> str:
    """Recomputation policies in one process: speed and memory against keeping all."""
    record = newest("layouts")
    rows = [row for row in record["rows"] if row["kind"] == "policy"]
    base = {row["compile"]: row for row in rows if row["name"] == "none"}
    lines = [
        f"| `{row['name']}` | {'compiled' if row['compile'] else 'eager'} | {row['tokens_per_second']:.0f} | "
        f"{row['tokens_per_second'] / base[row['compile']]['tokens_per_second']:.2f} | "
        f"{row['peak_memory_bytes'] / 2**30:.2f} GiB |"
        for row in rows
    ]
    head = "| policy | | tokens/s | of `none` | peak memory |\n|---|---|---:|---:|---:|\n"
    what = f"<sub>{record['what']}; the best of {len(record['rounds'])} rounds.</sub><br>"
    return f"{head}{chr(10).join(lines)}\n\n{what}\n{origin(record)}"


def layouts() -> str:
    """Layouts of two processes on the cores of one."""
    record = newest("layouts")
    rows = [row for row in record["rows"] if row["kind"] == "layout"]
    lines = [
        f"| {row['name']} | {row['tokens_per_second']:.0f} | "
        f"{row['tokens_per_second'] / rows[0]['tokens_per_second']:.2f} | {row['peak_memory_bytes'] / 2**30:.2f} GiB |"
        for row in rows
    ]
    head = "| layout | tokens/s | of one process | peak memory of a process |\n|---|---:|---:|---:|\n"
    return head + "\n".join(lines) + f"\n\n{origin(record)}"


def loader() -> str:
    """The loader alone."""
    record = newest("loader")
    rates, growth = record["tokens_per_second"], record["resident_growth_bytes"]
    rows = [
        ("tokens/s of one process, warm page cache", f"{format_count(rates['loader'])}"),
        ("the same, read ahead by a thread", f"{format_count(rates['prefetch'])}"),
        ("the same order through one memory map per file", f"{format_count(rates['mapped'])}"),
        ("resident memory gained over 5e8 tokens of 100 GB", format_bytes(growth["loader"])),
        ("through memory maps, over a tenth of them", format_bytes(growth["mapped"])),
        ("to the batch of step 1,000,000", f"{record['seconds_to_the_batch_of_step_1e6']:.2f} s"),
        ("to open 100 GB verified before", f"{record['seconds_to_open_verified_100_GB']:.2f} s"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| the loader | |\n|---|---:|\n{table}\n\n{origin(record)}"


def cleaning() -> str:
    """Rules on one core, beside datatrove's."""
    record = newest("clean")
    ours, theirs = record["megabytes_per_second"]["puna"], record["megabytes_per_second"]["datatrove"]
    lines = [
        f"| {what} | {rate:.0f} | {f'{theirs[what]:.1f}' if what in theirs else ''} | "
        f"{f'{rate / theirs[what]:.1f}' if what in theirs else ''} |"
        for what, rate in ours.items()
    ]
    head = "| rules, MB of text/s on one core | Puna | datatrove | times |\n|---|---:|---:|---:|\n"
    note = f"<sub>{record['what']}; datatrove's words: {record['datatrove_words']}.</sub><br>"
    return f"{head}{chr(10).join(lines)}\n\n{note}\n{origin(record)}"


def minhash() -> str:
    """MinHash signatures on one core, beside the peers."""
    record = newest("minhash")
    lines = [
        f"| {row['system']} {row['version']} | {row['megabytes_per_second']:.0f} | {row['puna_is_faster_by']:.1f} | "
        f"{row['rms_error_ratio']:.2f} |"
        for row in record["rows"]
    ]
    head = "| MinHash | MB/s on one core | Puna is faster by | error, of theory's |\n|---|---:|---:|---:|\n"
    note = f"<sub>{record['what']}. {record['rensa']}.</sub><br>"
    return f"{head}{chr(10).join(lines)}\n\n{note}\n{origin(record)}"


def extract() -> str:
    """WARC to text on one core."""
    record = newest("extract")
    rates = record["megabytes_per_second"] if "megabytes_per_second" in record else record["mb_per_second"]
    names = {
        "puna": "WARC to text",
        "puna_records_alone": "its records alone",
        "fastwarc_alone": "FastWARC, records alone",
        "resiliparse_alone": "Resiliparse, text of decoded pages alone",
    }
    lines = [f"| {names[name]} | {rate:.1f} |" for name, rate in rates.items()]
    head = "| web pages | MB of WARC/s on one core |\n|---|---:|\n"
    note = f"<sub>{record['what']}. As text: {record['text_mb_per_second']:.1f} MB/s.</sub><br>"
    return f"{head}{chr(10).join(lines)}\n\n{note}\n{origin(record)}"


def build() -> str:
    """The profile's rules from WARC files on, stage by stage, and what a dump would take."""
    record = newest("data")
    total, tokens, dump = sum(record["cpu_seconds"].values()), record["tokenize"], record["dump"]
    lines = [f"| `{name}` | {seconds / total:.0%} |" for name, seconds in record["cpu_seconds"].items()]
    rows = [
        ("MB of WARC/s on one core", f"{record['warc_mb_per_second']:.1f}"),
        ("of it compressed", f"{record['compressed_mb_per_second']:.1f}"),
        ("MB of text/s on one core", f"{record['text_mb_per_second']:.1f}"),
        (
            f"a dump of {dump['compressed_bytes'] / 1e12:.0f} TB of compressed WARC",
            f"{dump['core_hours']:,.0f} core hours",
        ),
        (f"on {dump['cores']:,} cores", f"{dump['hours']:.0f} hours"),
        (
            f"tokenization on {tokens['cores']} cores",
            f"{tokens['mb_per_second']:.1f} MB/s, {tokens['ratio_to_sentencepiece_times_cores']:.2f} of "
            "SentencePiece's own rate x cores",
        ),
    ]
    lines += [f"| {name} | {value} |" for name, value in rows]
    return f"| `llama`'s rules for CommonCrawl | |\n|---|---:|\n{chr(10).join(lines)}\n\n{origin(record)}"


def dumps() -> str:
    """Wikipedia, Stack Exchange and arXiv on one core."""
    record = newest("dumps")
    lines = [f"| {name} | {figures['megabytes_per_second']:.1f} |" for name, figures in record["results"].items()]
    return f"| dump | MB of input/s on one core |\n|---|---:|\n{chr(10).join(lines)}\n\n{origin(record)}"


def train_tokenizer() -> str:
    """What a tokenizer gains from more text, and what it costs."""
    record = newest("train_tokenizer")
    lines = [
        f"| {row['kind']} | {row['megabytes']:g} MB | {row['bytes_per_token_prose']:.3f} | "
        f"{row['bytes_per_token_code']:.3f} | {row['seconds']:.0f} s | {format_bytes(row['peak_memory_bytes'])} |"
        for row in record["rows"]
    ]
    head = "| tokenizer | learned from | bytes per token, prose | code | time | memory beside the text |\n"
    head += "|---|---:|---:|---:|---:|---:|\n"
    return f"{head}{chr(10).join(lines)}\n\n<sub>{record['what']}.</sub><br>\n{origin(record)}"


def encode() -> str:
    """Encoding on one core, beside the libraries."""
    record = newest("encode")
    systems = ("puna on the way", "puna from nothing", "sentencepiece", "tokenizers", "tiktoken")
    lines = []
    for tokenizer, corpora in record["rates"].items():
        for corpus, row in corpora.items():
            rates = [row["mb_per_second"].get(system) for system in systems]
            cells = " | ".join("" if rate is None else f"{rate:.1f}" for rate in rates)
            times = row["times_the_faster_of_sentencepiece_and_tokenizers"]
            lines.append(
                f"| {tokenizer} | {corpus} | {cells} | {times['puna on the way']:.1f}, "
                f"{times['puna from nothing']:.1f} | {row['bytes_per_token']:.2f} |"
            )
    head = (
        "| MB of text/s on one core | | Puna, on the way | Puna, from nothing | SentencePiece | tokenizers | tiktoken "
        "| times the faster of the first two libraries | bytes per token |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    return f"{head}{chr(10).join(lines)}\n\n<sub>{record['what']}.</sub><br>\n{origin(record)}"


def convert() -> str:
    """Import and export beside a plain copy."""
    record = newest("convert")
    lines = []
    for row in record["rows"]:
        cells = [row["format"]]
        for part in ("write", "import"):
            ratio = row.get(f"{part}_of_copy")
            rate = row.get(f"{part}_bytes_per_second")
            cells += ["", ""] if ratio is None else [f"{rate / 1e9:.2f}", f"{ratio:.2f}"]
        memory = max(row[f"{part}_anonymous_bytes"] for part in ("write", "import") if f"{part}_seconds_median" in row)
        cells += [format_bytes(memory), f"{row['open_80_layers_seconds']:.2f} s"]
        lines.append("| " + " | ".join(cells) + " |")
    head = (
        "| format | written, GB/s | of a copy | imported, GB/s | of a copy | memory held | opens 80 layers in |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n"
    )
    copies = sorted(record["copy_bytes_per_second"])
    note = (
        f"{record['what']}; medians of {len(record['rounds'])} rounds. A plain copy of its file, flushed: "
        f"{copies[0] / 1e9:.2f} to {copies[-1] / 1e9:.2f} GB/s. Rates are of the model's 16-bit weights, whatever the "
        "file's size."
    )
    return f"{head}{chr(10).join(lines)}\n\n<sub>{note}</sub><br>\n{origin(record)}"


def cluster() -> str:
    """One process of 2,048, simulated."""
    record = newest("cluster")
    layouts, plan = record["layouts"], record["library_plan"]
    size = next(iter(layouts.values()))["processes"]
    times = size / plan["processes"]
    seconds = sum(plan[key] for key in ("unpickle_seconds", "plan_seconds", "pickle_seconds")) * times
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("mesh, without what groups exchange", lambda row: f"{row['mesh_seconds'] * 1000:.0f} ms"),
        ("model in its layout, own weights drawn", lambda row: f"{row['model_seconds']:.0f} s"),
        ("optimizer's state", lambda row: f"{row['optimizer_seconds']:.2f} s"),
        ("memory of the process at its highest", lambda row: format_bytes(row["peak_memory_bytes"])),
        ("of it libraries", lambda row: format_bytes(row["imports_bytes"])),
        ("of it weights and optimizer's state", lambda row: format_bytes(row["state_bytes"])),
        ("gloo's sockets, connected to all", lambda row: f"{row['sockets_connected_to_all']:,}"),
        ("on demand, at most", lambda row: f"{row['sockets_on_demand_at_most']:,}"),
        ("own plan of a checkpoint", lambda row: f"{row['own_plan_seconds']:.1f} s, {row['entries']:,} entries"),
    ]
    lines = [f"| {what} | {' | '.join(show(row) for row in layouts.values())} |" for what, show in rows]
    head = f"| LLaMA 65B, one of {size:,} processes | {' | '.join(layouts)} |\n|---|{'---:|' * len(layouts)}\n"
    note = (
        f"<sub>{record['what']}. A plan through the main process: {seconds / 60:.0f} minutes of its time for "
        f"{format_bytes(plan['gathered_bytes'] * times)} of lists, measured with {plan['processes']} processes, times "
        f"{times:.0f}.</sub><br>"
    )
    return f"{head}{chr(10).join(lines)}\n\n{note}\n{origin(record)}"


def gpu() -> str:
    """Training on one GPU."""
    record = newest("gpu")
    head = (
        "| model | precision | tokens of a pass | pass | update | tokens/s | MFU | memory |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|\n"
    )
    lines = [
        f"| {row['size'].upper()} | {row['precision']}{' float8' if row['float8'] else ''} | "
        f"{row['micro_batch_tokens']:,} | {row['pass_ms']:.0f} ms | {row['update_ms']:.0f} ms | "
        f"{format_count(row['tokens_per_second'])} | {row['mfu']:.1%} | {row['memory_gib']:.0f} GiB |"
        for row in record["lines"]
        if row["what"] == "step" and row.get("toggle", "none") == "none" and "mfu" in row
    ]
    before = [
        f"| {row['size'].upper()} before, sharded | {row['precision']} | {row['micro_batch_tokens']:,} | "
        f"{row['pass_ms']:.0f} ms | {row['update_ms']:.0f} ms | | {row['mfu_of_a_pass']:.1%} of a pass | |"
        for row in record.get("before", {}).get("lines", [])
        if row["what"] == "pass" and row["precision"] == "bf16"
    ]
    note = f"<sub>{record['device']}, torch {record['packages']['torch']}"
    note += f"; {record['how']}.</sub><br>" if "how" in record else ".</sub><br>"
    return f"{head}{chr(10).join(lines + before)}\n\n{note}\n{origin(record)}"


def published_speeds() -> list[dict[str, Any]]:
    """Training speeds that others have published, and two of ours, each with the plan for what was run."""
    rows = json.loads((ROOT / "bench" / "published_speeds.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        recipe = load_recipe(row["recipe"], row["overrides"]).recipe
        options = {name: row.get(name) for name in ("node_devices", "network_gbps")}
        if isinstance(row["device"], str):
            target = find_target(row["device"], recipe, row["devices"], **options)
        else:
            # No device of ours, but its figures can be put in the same place.
            about, link = row["device"], Link(*row["device"]["link"])
            flops, share, memory = about["flops"], about["product_share"], about["memory_bytes_per_s"]
            gpu = Gpu(flops, flops, 0.0, about["memory_bytes"], memory, link, link, product_share=share)
            target = replace(
                find_target("a100", recipe, row["devices"]), name=about["name"], peak_flops=flops,
                memory_bytes=about["memory_bytes"], rates=rates_of(gpu, flops),
                links=Links(link, link, row["node_devices"]),
            )  # fmt: skip
        row["plan"] = plan(recipe, target, row["devices"])
        row["estimated"] = row["plan"].speed.tokens_per_second / row["devices"]
    return rows


def published() -> str:
    """What `puna plan` estimates for runs whose speed is known."""
    lines = []
    for row in published_speeds():
        device = row["device"] if isinstance(row["device"], str) else row["device"]["name"]
        lines.append(
            f"| {row['system']} {row['size']}, {row['devices']:,} {device} | {row['how']} | {row['published']:,} | "
            f"{row['estimated']:,.0f} | {row['estimated'] / row['published'] - 1:+.0%} | {row['plan'].speed.mfu:.1%} |"
        )
    head = "| run | as planned | published tokens/s | estimated | off by | estimated MFU |\n"
    head += "|---|---|---:|---:|---:|---:|\n"
    return head + "\n".join(lines) + "\n\n<sub>`bench/published_speeds.json` has every row's recipe and source.</sub>"


def planned_memory() -> str:
    """What `puna plan` says of the memory of our own runs on a GPU."""
    lines = ["| run | as planned | measured | planned | off by |", "|---|---|---:|---:|---:|"]
    for row in published_speeds():
        if measured := row.get("memory_gib"):
            planned = row["plan"].memory.peak.bytes / 2**30
            lines.append(
                f"| {row['system']} {row['size']}, {row['devices']} {row['device']} | {row['how']} | {measured} GiB | "
                f"{planned:.1f} GiB | {planned / measured - 1:+.1%} |"
            )
    return "\n".join(lines)


TABLES = {
    **decode_tables.tables(lambda: newest_of_each("decode"), origin),
    **evaluate_tables.tables(lambda: newest("evaluate"), origin),
    **evaluated_tables.tables(newest, origin),
    **finetune_tables.tables(newest, origin),
    **serve_tables.tables(lambda: newest("serve"), origin),
    "gpu": gpu,
    "gpus": hardware_tables.gpus,
    "demo": demo,
    "train_cpu": train_cpu,
    "samples": samples,
    "policies": policies,
    "layouts": layouts,
    "loader": loader,
    "cleaning": cleaning,
    "minhash": minhash,
    "extract": extract,
    "build": build,
    "dumps": dumps,
    "train_tokenizer": train_tokenizer,
    "encode": encode,
    "convert": convert,
    "cluster": cluster,
    "published": published,
    "planned_memory": planned_memory,
    "parity": lambda: parity_tables.table(newest, origin),
}
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("[fg]*/*.md")))


def rewrite(text: str) -> str:
    """The text with every marked table made again."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewrite(page.read_text(encoding="utf-8")), encoding="utf-8")
