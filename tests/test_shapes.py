"""Array shapes in signatures are checked while tests run."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from costmodel.network import InputScaling


def test_a_call_with_a_wrong_shape_is_refused() -> None:
    scaling = InputScaling(3)
    assert scaling(torch.zeros(2, 3)).shape == (2, 3)
    with pytest.raises(TypeCheckError, match="row feature"):
        scaling(torch.zeros(()))
