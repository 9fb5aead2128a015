"""Small tensors: one thread is fastest, and far faster where the cores are shared."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
