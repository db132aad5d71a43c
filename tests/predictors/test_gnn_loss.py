import math
from itertools import permutations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.predictors._gnn_loss import member_loss, ranking_loss, squared_loss

seeds = st.integers(0, 10_000)


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    predicted = torch.randn(5, 3, generator=random, dtype=torch.double)
    target = torch.randint(4, (5,), generator=random).double()
    return predicted, target, torch.randint(3, (5, 3), generator=random).double()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_one_graph_and_pair_at_a_time(seed: int) -> None:
    predicted, target, weight = case(seed)
    for member in range(3):
        p, w, y = predicted[:, member].tolist(), weight[:, member].tolist(), target.tolist()
        squares = [(w[i], (p[i] - y[i]) ** 2) for i in range(5)]
        pairs = [(w[i] * w[j], math.log1p(math.exp(p[j] - p[i]))) for i, j in permutations(range(5), 2) if y[i] > y[j]]
        for loss, parts in ((squared_loss, squares), (ranking_loss, pairs)):
            total = sum(weight for weight, _ in parts)
            wanted = sum(weight * value for weight, value in parts) / total if total else 0.0
            assert math.isclose(float(loss(predicted, target, weight)[member]), wanted, abs_tol=1e-9)
    both = member_loss(predicted, target, weight, "both")
    parts_of_it = (member_loss(predicted, target, weight, kind) for kind in ("mse", "rank"))
    torch.testing.assert_close(both, sum(parts_of_it))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_order_is_all_that_ranking_sees(seed: int) -> None:
    predicted, target, weight = case(seed)
    torch.testing.assert_close(
        ranking_loss(predicted, target, weight), ranking_loss(predicted + 7, target.exp(), weight)
    )


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_graphs_that_do_not_count_give_no_gradient(seed: int) -> None:
    predicted, target, weight = case(seed)
    predicted.requires_grad_()
    (gradient,) = torch.autograd.grad(member_loss(predicted, target, weight, "both").sum(), predicted)
    assert not gradient[weight == 0].any()
    assert torch.isfinite(gradient).all()
