import copy
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ppuda_like.graph import example_inputs, trace
from tests.graph.test_trace import assert_same_state, state

# One small member of every torchvision family; the table of all models is made by benchmarks/coverage.py.
FAMILIES = """
    alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t
    mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5
    squeezenet1_0 swin_t swin_v2_t vgg11 vgg11_bn vit_b_32 wide_resnet50_2 deeplabv3_mobilenet_v3_large
    fcn_resnet50 lraspp_mobilenet_v3_large raft_small r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b
    swin3d_t quantized_mobilenet_v2 quantized_resnet18 quantized_googlenet
""".split()


def torchvision_model(name: str, **options: object) -> nn.Module:
    if name.startswith(("deeplab", "fcn", "lraspp")):
        options["weights_backbone"] = None
    if name.endswith(("googlenet", "inception_v3")):
        options["init_weights"] = False
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision(name: str) -> None:
    model = torchvision_model(name).eval()
    graph = trace(model)
    auxiliary = ("aux", "AuxLogits") if name.endswith(("googlenet", "inception_v3")) else ()
    used = {path for path, _ in model.named_parameters() if not path.startswith(auxiliary or ("-",))}
    assert set(graph.params) == used
    assert set(graph.unreached) == {path for path, _ in model.named_parameters()} - used
    extended = graph.lower("extended")
    assert set(extended.params) == used


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_seen_in_training_mode(name: str) -> None:
    graph = trace(torchvision_model(name).train())
    assert graph.unreached == ()
    assert len(graph.outputs) == (3 if name == "googlenet" else 2)
    assert graph.names[graph.outputs[0]] == "fc"


def test_detection_runs_on_a_small_real_image() -> None:
    model = torchvision.models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None).eval()
    before = state(model)
    with pytest.warns(UserWarning, match="real tensors"):
        graph = trace(model)
    assert graph.unreached == ()
    assert_same_state(before, state(model))


@pytest.mark.parametrize(
    "name",
    "resnet18 efficientnet_b0 vit_b_32 swin_t maxvit_t convnext_tiny squeezenet1_0 r2plus1d_18 swin_v2_t".split(),
)
def test_flops_and_shapes_agree_with_torch(name: str) -> None:
    """The total is that of torch's own counter, and shortcuts for result shapes change nothing."""
    model = torchvision_model(name).eval()
    graph = trace(model)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        (x,) = example_inputs(model)
        y = model(x)
    assert graph.total_flops == counter.get_total_flops()
    assert graph.out_shapes[graph.outputs[0]] == tuple(y.shape)


def test_cost_does_not_depend_on_where_the_weights_are() -> None:
    model = torchvision.models.resnet18()
    on_meta = trace(copy.deepcopy(model).to("meta").eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trace(model.eval()) == on_meta
