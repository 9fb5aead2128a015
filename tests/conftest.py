"""What all tests share.

One thread for torch: the models of the tests are small, and threads would only wait. Hypothesis
draws the same examples in every run, and waits as long as a first compilation takes.
"""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
