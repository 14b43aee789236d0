"""Arrays on their way to a device."""

import numpy as np
import torch

from puna.ops.transfer import sent


def test_a_cpu_reads_the_arrays_own_memory():
    array = np.arange(6).reshape(2, 3)
    tensor = sent(array, torch.device("cpu"))
    array[1, 2] = 50
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 50]]
    assert tensor.dtype == torch.int64


def test_another_device_gets_shape_and_dtype():
    tensor = sent(np.zeros((3, 2), dtype=np.float32), torch.device("meta"))
    assert (tensor.device.type, tuple(tensor.shape), tensor.dtype) == ("meta", (3, 2), torch.float32)
