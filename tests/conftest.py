"""One thread for torch: the models of the tests are small, and threads would only wait."""

import torch

torch.set_num_threads(1)
