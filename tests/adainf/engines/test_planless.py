"""Convolutions that need no plan give what others give, and none that is planned slowly is left."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in_gpu import Processor
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.gpu.cuda import Forward, RecordedPass
from adainf.engines.gpu.engine import GpuEngine
from adainf.engines.gpu.planless import has_depthwise, planless


class Noting(TorchFunctionMode):
    """Notes the groups of each convolution, and whether cuDNN may run it."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[tuple[int, bool]] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.conv2d:
            self.ran.append((args[6], torch.backends.cudnn.enabled))
        return function(*args, **(kwargs or {}))


@settings(deadline=None, max_examples=60)
@given(
    kernel=st.sampled_from((1, 3)),
    stride=st.sampled_from((1, 2)),
    padding=st.sampled_from((0, 1, "valid")),
    depthwise=st.booleans(),
    bias=st.booleans(),
    pictures=st.integers(1, 3),
    last=st.booleans(),
)
def test_a_convolution_gives_what_it_gave(
    kernel: int, stride: int, padding: int | str, depthwise: bool, bias: bool, pictures: int, last: bool
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 6, kernel, stride, padding, groups=6 if depthwise else 1, bias=bias)
    memory_format = torch.channels_last if last else torch.contiguous_format
    convolution = convolution.to(memory_format=memory_format)
    images = torch.randn(pictures, 6, 9, 7).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        torch.testing.assert_close(planless(convolution)(images), convolution(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "timm/tf_efficientnet_lite0",
        "timm/mobilenetv2_100",
        "timm/mobilenetv4_conv_small",
        "timm/efficientvit_b0",
        "cifar/resnet20",
        "timm/vit_tiny_patch16_224",
    ],
)
def test_a_network_gives_what_it_gave_and_cudnn_plans_none_of_its_depthwise_convolutions(name: str) -> None:
    network = backbones.load(name, Options(weights=RANDOM)).to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, network.native_resolution, network.native_resolution)
    noting = Noting()

    def noted(given: Tensor) -> Tensor:
        scores: Tensor = network(given)
        return scores

    with torch.inference_mode():
        expected = noted(images)
        with noting:
            scores = planless(noted)(images)
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)
    assert torch.backends.cudnn.enabled
    assert all(enabled == (groups == 1) for groups, enabled in noting.ran)
    assert has_depthwise(network) == any(groups > 1 for groups, _ in noting.ran)


def test_one_picture_waits_for_no_plan_and_groups_run_by_planned_convolutions() -> None:
    noting = Noting()

    class Noted(Processor):
        def record(self, forward: Forward, given: Tensor) -> RecordedPass:
            with noting:
                return super().record(forward, given)

    network = backbones.load("timm/mobilenetv2_050", Options(weights=RANDOM))
    branch = Branch(64, network.full.keep)
    engine = GpuEngine({REFERENCE: network}, Noted())
    engine.warm_up([branch], 1)
    alone = set(noting.ran)
    engine.make_parts_ready(64)
    engine.look(engine.prepare(np.zeros((64, 64, 3), np.uint8), 64), 64)
    assert not any(enabled for groups, enabled in noting.ran if groups > 1)
    noting.ran.clear()
    engine.warm_up([branch], 2)
    engine.close()
    assert any(groups > 1 for groups, _ in alone)
    assert all(enabled for _, enabled in noting.ran)
