"""Meta's own model with original directories: prints nothing, saves the logits of each. Run by torchrun.

Arguments: a file of token ids, then for each case a directory and the file for its logits.
"""

import json
import sys
from pathlib import Path

import torch
from fairscale.nn.model_parallel.initialize import get_model_parallel_rank, initialize_model_parallel
from fairscale.nn.model_parallel.layers import ParallelEmbedding
from llama_models.llama3.args import ModelArgs
from llama_models.llama3.model import Transformer


def run(directory: Path, tokens: torch.Tensor, rank: int) -> torch.Tensor:
    params = {"rope_theta": 10000.0} | json.loads((directory / "params.json").read_text())
    model = Transformer(ModelArgs(**params, max_batch_size=tokens.shape[0], max_seq_len=tokens.shape[1]))
    state = torch.load(directory / f"consolidated.{rank:02d}.pth", weights_only=True)
    if state["tok_embeddings.weight"].shape[0] == params["vocab_size"]:
        # The code of LLaMA 1 and 2 has this layer here, which divides columns; nothing else differs.
        model.tok_embeddings = ParallelEmbedding(params["vocab_size"], params["dim"], init_method=lambda x: x)
    model.load_state_dict(state, strict=True)
    return model.eval().forward(tokens, 0)


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    initialize_model_parallel(torch.distributed.get_world_size())
    tokens_file, *cases = map(Path, sys.argv[1:])
    for case, result in zip(cases[::2], cases[1::2], strict=True):
        model_logits = run(case, torch.load(tokens_file, weights_only=True), get_model_parallel_rank())
        if get_model_parallel_rank() == 0:
            torch.save(model_logits, result)
    torch.distributed.destroy_process_group()
