"""`puna plan` as a user sees it."""

import json
import subprocess
import sys

import pytest


def puna(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "puna", "plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_plan_of_7b_is_plain_text_on_stdout_with_all_figures():
    result = puna("llama-7b", "--devices", "8")
    assert (result.returncode, result.stderr) == (0, "")
    lines = {line[: line.find("  ", 2)].strip(): line for line in result.stdout.splitlines() if line}
    assert "6.74B" in lines["parameters"]
    assert "estimated from model, layout and hardware" in lines["utilisation (MFU)"]
    assert "passes" in lines["optimizer step"]
    for name in ("matrix products", "attention", "waiting for other devices", "traffic", "weights gathered"):
        assert name in lines
    assert "does not fit: 80.0 GiB there; bf16, recompute none; 8 shards" in lines["memory per device"]
    for name in ("weights", "optimizer state (adamw)", "gradients", "tokens/s", "time", "disk", "energy", "carbon"):
        assert name in lines
    assert "\n  train.recompute=full  (" in result.stdout
    assert "other arithmetic" in result.stdout
    assert "\x1b" not in result.stdout


def test_plan_that_fits_gives_no_advice():
    result = puna("llama-7b", "train.recompute=full", "--devices", "8", "--device", "h200")
    assert "fits: 141.0 GiB there" in result.stdout
    assert "what would fit" not in result.stdout


def test_layout_of_the_recipe_is_the_number_of_devices():
    result = puna("llama-7b", "parallel.tensor=4", "parallel.shard=2", "--json")
    assert json.loads(result.stdout)["devices"] == 8


def test_json_is_one_object_and_obeys_the_arguments():
    result = puna("llama-7b", "--json", "--device", "1e15", "--mfu", "0.25")
    found = json.loads(result.stdout)
    assert (found["speed"]["mfu"], found["device"]["peak_flops"], found["energy"]) == (0.25, 1e15, None)


def test_network_and_machines_change_time_and_traffic():
    arguments = ("open_lm_7b", "--device", "A100-SXM4-40GB", "--devices", "256", "--json")
    usual, slow, small = (
        json.loads(puna(*arguments, *more).stdout)
        for more in ((), ("--network-gbps", "25"), ("--devices-per-node", "4"))
    )
    assert slow["speed"]["seconds"] > usual["speed"]["seconds"]
    sent = [sum(kind["network_bytes"] for kind in plan["speed"]["step"]["traffic"]) for plan in (usual, slow, small)]
    assert sent[0] == sent[1]
    # Half as many devices share the way out.
    assert sent[2] == pytest.approx(2 * sent[0])


def test_one_device_and_a_utilisation_that_is_given_have_no_traffic_to_show():
    assert "traffic" not in puna("llama-7b", "--device", "h200").stdout
    given = puna("llama-7b", "--devices", "8", "--mfu", "0.4").stdout
    assert "traffic" not in given
    assert "optimizer step" not in given


def test_power_that_nobody_knows_is_said_so():
    assert "give the device's power with energy.device_watts" in puna("llama-7b", "--device", "1e15").stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["llama-7b", "--device", "b100"], ["--device 'b100'", "such as a100 or rtx-4090, cpu, or FLOP/s"]),
        (["llama-7b", "--mfu", "1.5"], ["--mfu 1.5", "at most 1"]),
        (["llama-7b", "--mfu", "nan"], ["--mfu nan"]),
        (["llama-7b", "parallel.tensor=2", "--devices", "3"], ["but the number of processes is 3", "--devices"]),
        (["llama-7b", "--network-gbps", "0"], ["--network-gbps 0", "above 0"]),
        (["llama-7b", "--network-gbps", "nan"], ["--network-gbps nan"]),
        (["llama-7b", "--network-gbps", "100", "--mfu", "0.4"], ["--mfu stands in for the estimate"]),
        (["llama-7b", "--devices-per-node", "4", "--mfu", "0.4"], ["--mfu stands in for the estimate"]),
        (["llama-7b", "--network-gbps", "100", "--device", "1e15"], ["--network-gbps needs a known GPU"]),
        (["llama-65b", "--devices", "2048"], ["not a multiple", "train.micro_batch_tokens=2048"]),
        (["lama-7b"], ["did you mean 'llama-7b'?"]),
    ],
)
def test_wrong_arguments_are_sentences(arguments: list[str], parts: list[str]):
    result = puna(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in " ".join(result.stderr.split())


def test_show_prints_the_recipe_and_plans_nothing():
    result = puna("llama-7b", "--show")
    assert "model.dim = 4096" in result.stdout
    assert "tokens/s" not in result.stdout


def test_planning_needs_no_torch_and_few_modules():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['puna', 'plan', 'llama-7b']\n"
        "import puna.cli\n"
        "try: puna.cli.main()\n"
        "finally: print(len(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert "6.74B" in result.stdout
    # About half of them are the recipe's, that is pydantic's.
    assert int(result.stderr.splitlines()[-1]) < 700


def test_a_recipe_that_tunes_is_planned_for_the_model_that_is_named_and_needs_no_torch_for_a_recipes_shape():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "sys.argv = ['puna', 'plan', 'chat-lora', '--model', 'llama-7b', 'finetune.base=int4']\n"
        "import puna.cli\n"
        "puna.cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0
    lines = {line[: line.find("  ", 2)].strip(): line for line in result.stdout.splitlines() if line}
    assert "rank 16" in lines["learn"]
    assert "train.tokens=" in lines["time"]
    assert "3.4 GiB" in lines["frozen matrices in int4, with their scales"]
    for name in ("weights that learn", "frozen weights", "inputs of the updates' B", "energy"):
        assert name in lines
    assert "<|im_end|> count as new tokens" in result.stderr


def test_pairs_are_looked_at_by_the_reference_model_before_the_first_step():
    result = puna("dpo", "--model", "llama-7b", "--devices", "8", "train.tokens=100_000_000")
    lines = {line[: line.find("  ", 2)].strip(): line for line in result.stdout.splitlines() if line}
    assert "the reference model" in lines["before the first step"]
    assert "of an epoch" in lines["examples as tokens"]


def test_which_model_is_missing_is_said():
    result = puna("chat-lora")
    assert (result.returncode, result.stdout) == (2, "")
    assert "error: which model is to be tuned was not said" in result.stderr
    assert "`--model llama-7b`; or set train.init_from" in " ".join(result.stderr.split())
