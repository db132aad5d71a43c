import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ppuda_like import GHN, trace
from ppuda_like.deepnets import sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.ghn import postprocess
from ppuda_like.ghn._postprocess import _orthogonal


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 100))
def test_orthogonal_factor(rows: int, columns: int, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=generator(seed), dtype=torch.float64).float()
    found = _orthogonal(weight)
    gram = found @ found.T if rows <= columns else found.T @ found
    torch.testing.assert_close(gram, torch.eye(min(rows, columns)), atol=1e-5, rtol=0)
    torch.testing.assert_close(_orthogonal(found), found, atol=1e-5, rtol=0)
    torch.testing.assert_close(_orthogonal(3 * weight), found, atol=1e-4, rtol=0)


def test_all_weights_but_the_class_layer_and_vectors_change(ghn: GHN) -> None:
    model = sample_network("test", 2).replace(C=8).build("cpu")
    graph = trace(model)
    ghn.fill(model, graph=graph)
    before = copied(model)
    changed = postprocess(model, graph, orth=True)
    different = {name for name, tensor in copied(model).items() if not torch.equal(tensor, before[name])}
    assert set(changed) == different
    wanted = {name for name, tensor in before.items() if tensor.dim() > 1 and name not in graph.unreached}
    last = wanted - different
    assert [before[name].size(0) for name in last] == [10]
    later = postprocess(model, graph, orth=True, first_layer=len(changed) - 2)
    assert later == changed[-2:]


def test_noise_meets_copies_only() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 20, 3), nn.Conv2d(20, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    )
    graph = trace(model, (1, 3, 8, 8))
    before = copied(model)
    assert postprocess(model, graph, noise=0.1, max_channels=(16, 16), generator=generator()) == (
        "0.weight",
        "1.weight",
    )
    wide, deep = (model[i].weight.detach() - before[f"{i}.weight"] for i in (0, 1))
    assert not wide[:16].any()
    assert wide[16:].all()
    assert not deep[:, :16].any()
    assert deep[:, 16:].all()
    matrix = before["0.weight"].flatten(1)
    assert float(wide[16:].std()) == pytest.approx(0.1 * float((matrix @ matrix.T).std()), rel=0.3)
    assert torch.equal(model[4].weight, before["4.weight"])


def test_bad_requests() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    graph = trace(model, (1, 3, 8, 8))
    with pytest.raises(PredictionError, match="'noise' needs 'max_channels'"):
        postprocess(model, graph, noise=0.1)
    with pytest.raises(PredictionError, match=r"0 or more \(got -1\)"):
        postprocess(model, graph, noise=-1)
    with pytest.raises(PredictionError, match=r"holds a weight '0\.weight' that the model does not have"):
        postprocess(nn.Linear(2, 2), graph, orth=True)
