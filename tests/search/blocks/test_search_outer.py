import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ppuda_like.graph import Partition, trace, units
from ppuda_like.search.blocks import BlockSearchConfig, Relaxation, RelaxedNet, smoothed_cross_entropy, split
from ppuda_like.search.blocks._search_net import relaxed_net
from ppuda_like.search.blocks._search_outer import outer_gradient, step
from ppuda_like.search.blocks._search_step import Batch, NetState, descended, gradients, losses, validated

BOUNDARIES = 3


def network(norm: bool = True) -> nn.Module:
    def unit(channels: int, out: int) -> list[nn.Module]:
        # Smooth, so that finite differences converge.
        return [nn.Conv2d(channels, out, 3, 2, 1), *([nn.BatchNorm2d(out)] if norm else []), nn.Tanh()]

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        body = [*unit(3, 4), *unit(4, 5), *unit(5, 6), *unit(6, 4)]
        return nn.Sequential(*body, nn.Dropout(0.2), nn.Flatten(), nn.Linear(4, 3))


def config(**changes: Any) -> BlockSearchConfig:
    options: dict[str, Any] = {"out": Path("unused"), "candidates": ("linear", "mlp", "light-1"), "features": 8}
    return BlockSearchConfig(**(options | changes))


def relaxed(config: BlockSearchConfig, norm: bool = True) -> RelaxedNet:
    net, _ = relaxed_net(network(norm), config, 8, 3)
    assert net.num_boundaries == BOUNDARIES
    return net.double()


def batch(seed: int, n: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    return torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.double), labels


def state_of(net: RelaxedNet) -> NetState:
    """With momenta as in the middle of training."""
    state = NetState.of(net)
    generator = torch.Generator().manual_seed(1)
    momenta = {k: torch.randn(w.shape, generator=generator, dtype=w.dtype) / 50 for k, w in state.weights.items()}
    weights = {k: w.requires_grad_() for k, w in state.weights.items()}
    return NetState(weights=weights, momenta=momenta, buffers=state.buffers)


def logits(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    alpha = torch.randn(BOUNDARIES, generator=generator, dtype=torch.double)
    return alpha, torch.randn(BOUNDARIES, 3, generator=generator, dtype=torch.double)


def relaxation(alpha: Tensor, beta: Tensor | None, **changes: Any) -> Relaxation:
    mix = None if beta is None else beta.softmax(dim=1)
    return replace(Relaxation(cut=alpha.sigmoid(), mix=mix), **changes)


def unit_of(name: str) -> tuple[int, bool]:
    """The unit that a parameter belongs to, and whether to an auxiliary network there."""
    kind, *path = name.split(".")
    return (int(path[0]), True) if kind == "auxiliaries" else (int(path[1]), False)


# ------------------------------------------------------------------------------------- gradients of one step


@pytest.mark.parametrize("reference", [False, True])
def test_gates_are_the_division_by_the_prefix_product(reference: bool) -> None:
    net = relaxed(config())
    state, (alpha, beta) = state_of(net), logits()
    relax = relaxation(alpha, beta, reference=reference)
    found, _ = losses(net, state, batch(0), relax, 0.1, seed=3)
    gated = gradients(found, state, relax, create_graph=False)
    plain = replace(relax, gated=False)
    found, _ = losses(net, state, batch(0), plain, 0.1, seed=3)
    whole = torch.autograd.grad(found.relaxed(plain), list(state.weights.values()))
    through = torch.cat([torch.ones(1, dtype=torch.double), (1 - alpha.sigmoid()).cumprod(0)])
    for (name, grad), other in zip(gated.items(), whole, strict=True):
        unit, auxiliary = unit_of(name)
        factor = through[unit] * (alpha[unit].sigmoid() if auxiliary and not reference else 1)
        torch.testing.assert_close(grad, other / factor, rtol=1e-12, atol=1e-12, msg=name)


def test_the_relaxed_loss_is_the_expectation_over_where_the_first_block_ends() -> None:
    net = relaxed(config())
    state, (alpha, beta) = state_of(net), logits()
    relax = relaxation(alpha, beta, gated=False)
    found, _ = losses(net, state, batch(0), relax, 0.1, seed=3)
    cut = alpha.sigmoid()
    through = torch.cat([torch.ones(1, dtype=torch.double), (1 - cut).cumprod(0)])
    odds = through * torch.cat([cut, torch.ones(1, dtype=torch.double)])
    assert float(odds.sum()) == pytest.approx(1)
    every = torch.stack([*(loss for loss in found.local if loss is not None), found.head])
    torch.testing.assert_close(found.relaxed(relax), (odds * every).sum(), rtol=1e-12, atol=1e-12)


def test_certain_boundaries_are_decoupled_blocks() -> None:
    chosen = config()
    net = relaxed(chosen)
    state = state_of(net)
    hard = torch.where(torch.arange(BOUNDARIES) == 1, 50.0, -50.0).double()
    beta = torch.where(torch.arange(3) == 2, 50.0, -50.0).double().expand(BOUNDARIES, 3)
    relax = relaxation(hard, beta)
    found, _ = losses(net, state, batch(0), relax, 0.1, seed=3)
    gated = gradients(found, state, relax, create_graph=False)

    model = network().train()
    graph = trace(model.float(), (2, 3, 8, 8))
    blocks = split(model, Partition.at_units(graph, [1], among=units(graph))).double()
    auxiliary = net.auxiliaries[1][2]  # type: ignore[index]
    images, labels = batch(0)
    frontier = blocks.blocks[0](blocks.start(images))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        logits_ = blocks.blocks[1](frontier.detached())
    local = smoothed_cross_entropy(auxiliary(frontier.newest), labels, 0.1)
    torch.autograd.backward(local + smoothed_cross_entropy(logits_, labels, 0.1))
    wanted = {id(p): p.grad for p in [*model.parameters(), *auxiliary.parameters()]}
    other = dict(net.named_parameters())
    in_order = iter(model.parameters())
    for name, grad in gated.items():
        if name.startswith("model."):
            parameter = next(in_order)
            assert parameter.equal(other[name])
            torch.testing.assert_close(grad, wanted[id(parameter)], rtol=1e-12, atol=1e-12, msg=name)
        elif name.startswith("auxiliaries.1.2."):
            torch.testing.assert_close(grad, wanted[id(other[name])], rtol=1e-12, atol=1e-12, msg=name)


def test_a_step_is_that_of_sgd() -> None:
    chosen = config(weight_decay=0.01)
    net = relaxed(chosen)
    state, relax = NetState.of(net), relaxation(*logits())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for number in range(3):
        net.train()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)
            found = net(*batch(number), relax, 0.1)
        optimizer.zero_grad()
        found.to_descend(relax).backward()
        before = NetState.of(net)
        optimizer.step()
        after, loss = step(net, state, batch(number), relax, chosen, lr=0.1, seed=number)
        assert after is not None
        assert loss == float(found.head.detach())
        assert not any(before.weights[name].equal(weight) for name, weight in after.weights.items())
        state = after
    for name, tensor in NetState.of(net).tensors().items():
        if not name.startswith("momenta/"):
            torch.testing.assert_close(state.tensors()[name], tensor, rtol=1e-12, atol=1e-12, msg=name)


def test_what_is_not_evaluated_is_not_changed() -> None:
    net = relaxed(config())
    state = state_of(net)
    relax = relaxation(*logits(), drawn={0: (0, 2), 2: (1,)}, share=2 / 3)
    after, _ = step(net, state, batch(0), relax, config(), lr=0.1, seed=0)
    assert after is not None
    for name, weight in after.weights.items():
        kept = name.startswith(("auxiliaries.1.", "auxiliaries.0.1.", "auxiliaries.2.0.", "auxiliaries.2.2."))
        assert weight.equal(state.weights[name]) == kept, name


def test_drawn_boundaries_give_the_gradient_on_average() -> None:
    net = relaxed(config())
    state, (alpha, beta) = state_of(net), logits()

    def of_units(relax: Relaxation) -> Tensor:
        found, _ = losses(net, state, batch(0), relax, 0.1, seed=3)
        grads = gradients(found, state, relax, create_graph=False)
        return torch.cat([g.flatten() for name, g in grads.items() if name.startswith("model.") and g is not None])

    wanted = of_units(relaxation(alpha, beta))
    every = [dict.fromkeys(pair, (0, 1, 2)) for pair in itertools.combinations(range(BOUNDARIES), 2)]
    found = torch.stack([of_units(relaxation(alpha, beta, drawn=drawn, share=2 / 3)) for drawn in every])
    torch.testing.assert_close(found.mean(0), wanted, rtol=1e-11, atol=1e-12)


# ------------------------------------------------------------------------------------------- outer gradients


def outer(net: RelaxedNet, chosen: BlockSearchConfig, alpha: Tensor, beta: Tensor, steps: int) -> tuple[Tensor, ...]:
    alpha, beta = alpha.clone().requires_grad_(), beta.clone().requires_grad_()

    def relax(number: int) -> Relaxation:
        return relaxation(alpha, beta, reference=chosen.gradient == "reference")

    batches = [batch(i) for i in range(steps)]
    return outer_gradient(
        net, state_of(net), batches, batch(9), (alpha, beta), relax, chosen, lr=0.2, seeds=range(steps)
    ).gradients


def assert_slope(function: Any, alpha: Tensor, beta: Tensor, found: tuple[Tensor, ...], directions: int = 3) -> None:
    """Compare with central differences along random directions; they are short, because of the kinks of ReLU."""
    for seed in range(1, directions + 1):
        along = logits(seed)
        slopes = []
        for width in (1e-5, 2e-5):
            ends = [float(function(alpha + w * along[0], beta + w * along[1])) for w in (width, -width)]
            slopes.append((ends[0] - ends[1]) / (2 * width))
        slope = sum(float((grad * way).sum()) for grad, way in zip(found, along, strict=True))
        assert slope == pytest.approx((4 * slopes[0] - slopes[1]) / 3, rel=1e-5, abs=1e-9)
        assert abs(slope) > 1e-4


@pytest.mark.parametrize(("norm", "steps"), [(True, 2), (False, 3)])
def test_the_gradient_is_the_slope_of_the_validation_loss_after_some_steps(norm: bool, steps: int) -> None:
    chosen = config()
    net = relaxed(chosen, norm)

    def after(alpha: Tensor, beta: Tensor) -> Tensor:
        state: NetState | None = state_of(net)
        for i in range(steps):
            assert state is not None
            state, _ = step(net, state, batch(i), relaxation(alpha, beta), chosen, lr=0.2, seed=i)
        assert state is not None
        return validated(net, state, batch(9), chosen.label_smoothing, chosen.bn_batch_stats).head.detach()

    alpha, beta = logits()
    assert_slope(after, alpha, beta, outer(net, chosen, alpha, beta, steps))


def test_what_is_drawn_may_differ_from_step_to_step() -> None:
    chosen = config()
    net = relaxed(chosen)
    draws: list[dict[int, tuple[int, ...]]] = [{0: (0, 2)}, {1: (1,)}, {2: (0, 1)}]
    state = NetState.of(net)  # as a search has it: no weight requires a gradient

    def relax(alpha: Tensor, beta: Tensor, number: int) -> Relaxation:
        return relaxation(alpha, beta, drawn=draws[number], share=1 / 3)

    def after(alpha: Tensor, beta: Tensor) -> Tensor:
        now: NetState | None = state
        for i in range(len(draws)):
            assert now is not None
            now, _ = step(net, now, batch(i), relax(alpha, beta, i), chosen, lr=0.2, seed=i)
        assert now is not None
        return validated(net, now, batch(9), chosen.label_smoothing, chosen.bn_batch_stats).head.detach()

    alpha, beta = logits()
    leaves = alpha.clone().requires_grad_(), beta.clone().requires_grad_()
    found = outer_gradient(
        *(net, state, [batch(i) for i in range(3)], batch(9), leaves, lambda i: relax(*leaves, i), chosen),
        lr=0.2,
        seeds=range(3),
    ).gradients
    assert_slope(after, alpha, beta, found)


def test_the_first_order_gradient_takes_the_weights_between_steps_as_given() -> None:
    chosen = config(gradient="first-order")
    net = relaxed(chosen)
    alpha, beta = logits()
    between, _ = step(net, state_of(net), batch(0), relaxation(alpha, beta), chosen, lr=0.2, seed=0)
    assert between is not None
    given = NetState(
        weights={k: w.detach().requires_grad_() for k, w in between.weights.items()},
        momenta=between.momenta,
        buffers=between.buffers,
    )

    def after(alpha: Tensor, beta: Tensor) -> Tensor:
        relax = relaxation(alpha, beta)
        state, _ = step(net, state_of(net), batch(0), relax, chosen, lr=0.2, seed=0)
        assert state is not None
        found, buffers = losses(net, given, batch(1), relax, chosen.label_smoothing, 1)
        grads = gradients(found, given, relax, create_graph=False)
        state = descended(state, grads, buffers, lr=0.2, momentum=chosen.momentum, weight_decay=chosen.weight_decay)
        return validated(net, state, batch(9), chosen.label_smoothing, chosen.bn_batch_stats).head.detach()

    assert_slope(after, alpha, beta, outer(net, chosen, alpha, beta, 2))


class Published(nn.Module):
    """The loss of the whole as the published code computes it."""

    def __init__(self, net: RelaxedNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, labels: Tensor, cut: Tensor, mix: Tensor) -> Tensor:
        *inner, last = self.net.model.blocks
        frontier, local = self.net.model.start(images), []
        for i, unit in enumerate(inner):
            frontier = unit(frontier)
            scale = 1 / (cut[i].detach() + 1e-5)
            nets: Any = self.net.auxiliaries[i]
            logits = [weight * net(frontier.newest / scale) for weight, net in zip(mix[i], nets, strict=True)]
            local.append(smoothed_cross_entropy(scale * torch.stack(logits).sum(0), labels, 0.1))
        total = smoothed_cross_entropy(last(frontier), labels, 0.1)
        for a, loss in zip(reversed(cut), reversed(local), strict=True):
            total = a * loss + (1 - a) * total
        return total


def test_the_published_gradient() -> None:
    chosen = config(gradient="reference")
    net = relaxed(chosen)
    published = Published(net).train()
    alpha, beta = (value.requires_grad_() for value in logits())
    cut, mix = alpha.sigmoid(), beta.softmax(1)
    through = torch.cat([torch.ones(1, dtype=torch.double), (1 - cut).cumprod(0)])
    state = state_of(net)
    weights, momenta, buffers = dict(state.weights), dict(state.momenta), dict(state.buffers)
    for number in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)
            named = {f"net.{name}": tensor for name, tensor in (weights | buffers).items()}
            total = functional_call(published, named, (*batch(number), cut, mix))
        if number < 2:
            grads = torch.autograd.grad(total, list(weights.values()), create_graph=True)
            for (name, weight), grad in zip(tuple(weights.items()), grads, strict=True):
                momenta[name] = 0.9 * momenta[name] + grad / through[unit_of(name)[0]] + 1e-4 * weight
                weights[name] = weight - 0.2 * momenta[name]
    wanted = torch.autograd.grad(total, (alpha, beta))
    for one, other in zip(outer(net, chosen, *logits(), 3), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
