import torch
from fake_runner import FakeRunner, fake_logits

from puna.infer.runner import Rows, Runner


def test_a_row_sees_its_tables_pages_up_to_its_position_whoever_writes_them_in_the_same_step() -> None:
    runner: Runner = FakeRunner(pages=4, page_size=2)
    rows = Rows(
        tokens_M=torch.tensor([5, 6, 7, 8]),
        positions_M=torch.tensor([2, 0, 1, 2], dtype=torch.int32),
        sequences_M=torch.tensor([0, 1, 1, 1], dtype=torch.int32),
        tables_SP=torch.tensor([[3, 0], [3, 1]], dtype=torch.int32),
        wanted_W=torch.tensor([0, 1, 3]),
    )
    logits_WV = runner.logits(rows)
    for row, seen in enumerate(([6, 7, 5], [6], [6, 7, 8])):
        assert torch.equal(logits_WV[row], fake_logits(seen, 50))
