"""Rows are filled up to few shapes, and what is made of them is cut back."""

from __future__ import annotations

import torch
from torch import nn

from anomaly.nn.shapes import by_rows, filled


def test_rows_are_led_by_those_given() -> None:
    for x in (torch.randn(33, 3), torch.randn(33), torch.ones(33, 2, dtype=torch.int64), torch.ones(33).bool()):
        found = filled(x)
        assert found.dtype == x.dtype and found.shape == (36, *x.shape[1:])
        torch.testing.assert_close(found[:33], x)
        assert not found[33:].any()
    assert len(filled(torch.randn(0, 3))) == 0


def test_a_layer_sees_few_shapes_and_says_the_same() -> None:
    layer, seen = nn.Linear(3, 2), set()
    layer.register_forward_hook(lambda _, inputs, out: seen.add(len(out)))
    for n in range(64, 129):
        x = torch.randn(n, 3)
        found = by_rows(layer, x)
        torch.testing.assert_close(found, nn.functional.linear(x, layer.weight, layer.bias))
    assert len(seen) == 9
