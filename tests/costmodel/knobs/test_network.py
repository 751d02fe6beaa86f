"""The network over knob tokens."""

from __future__ import annotations

import numpy as np
import torch

from costmodel.knobs.network import KnobEncoder, KnobNetworkConfig


def test_threads_add_gradients_up_in_the_same_order_each_time() -> None:
    before = torch.get_num_threads()
    sizes = [3] * 12
    positions = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (1000, len(sizes))))
    encoder = KnobEncoder(sizes, KnobNetworkConfig(num_members=1), torch.Generator().manual_seed(0))
    found = []
    torch.set_num_threads(4)
    try:
        for _ in range(6):
            encoder.zero_grad()
            encoder(positions).square().sum().backward()
            assert encoder.values.grad is not None
            found.append(encoder.values.grad.clone())
    finally:
        torch.set_num_threads(before)
    assert found[0].any()
    assert all(torch.equal(each, found[0]) for each in found)
