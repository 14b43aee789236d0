"""Bring a model in from another format, look at it, and take it out again with proof that it is the same model.

python examples/import_check_export.py
"""

from transformers import LlamaConfig, LlamaForCausalLM

import puna

# Any LLaMA in Hugging Face's, Meta's, EasyLM's, OpenLM's, GGUF's or llama2.c's format will do; this one is random.
config = LlamaConfig(
    vocab_size=320, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128,
)  # fmt: skip
LlamaForCausalLM(config).save_pretrained("tiny-llama")

# What is it? Only headers are read, so this is quick for 65B too.
info = puna.inspect("tiny-llama")
print(info)
# format         Hugging Face directory, tiny-llama
# parameters     127,296 (127k)
# decoder        2 layers, width 64, 4 heads of 16, 2 key heads, feed-forward 160, 320 tokens, context 128
# architecture   n_kv_heads = 2 for n_heads = 4; rope_theta 10000, norm_eps 1e-06
# weights        21 tensors, 497.2 KiB: 21 float32
# tokenizer      none found
assert not info.missing

# models/tiny-llama: written, read back and compared bit by bit.
model = puna.import_model("tiny-llama")

# Out again. An export that is not the same model raises ExportError and leaves nothing behind.
exact = puna.export(model, "hf")
assert exact.proof.weights.identical == exact.proof.weights.tensors
print(exact)
# weights: 21 of 21 tensors read back bit for bit the same
# transformers 5.23.0: logits within 1.8e-07 of ours over 256 tokens

# Rounded, it is not the same bits; the proof says how far off its answers are.
small = puna.export(model, "llama", dtype="bfloat16")
assert small.proof.outputs is not None
print(small)
print(f"{small.path}: the same next token at {small.proof.outputs.same_most_likely:.1%} of the positions")
# models/tiny-llama/exports/llama: the same next token at 99.6% of the positions
