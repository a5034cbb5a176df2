"""ResNets for small pictures: He et al., "Deep Residual Learning", 2016, and the usual ResNet-18 for CIFAR."""

from torch import Tensor, nn
from torch.nn import functional

from adainf.backbones import weights as weight_files
from adainf.backbones.base import Backbone, Block, Classes
from adainf.backbones.options import RANDOM, Options, seeded, unknown_name
from adainf.base.errors import InvalidInputError, MissingWeightsError

__all__ = ["DEVIATION", "MEAN", "CifarResNet", "build", "network"]

_SIZE = 32
_CLASSES = 100
MEAN = (0.5071, 0.4865, 0.4409)
DEVIATION = (0.2673, 0.2564, 0.2762)

_WIDE = (64, 128, 256, 512)
_NARROW = (16, 32, 64)  # section 4.2
_NETWORKS = {
    "resnet18": (_WIDE, 2),
    "resnet20": (_NARROW, 3),
    "resnet32": (_NARROW, 5),
    "resnet44": (_NARROW, 7),
    "resnet56": (_NARROW, 9),
    "resnet110": (_NARROW, 18),
}


def build(name: str, options: Options) -> Backbone:
    """Return `resnet18` with projection shortcuts, or `resnet20|32|44|56|110` with parameter-free ones.

    Raises InvalidInputError on another name, or if weights are missing or do not fit.
    """
    labels = options.labels
    if options.weights == RANDOM:
        with seeded():
            model = network(name, len(labels) or _CLASSES)
    elif (path := options.weights_file) is not None:
        state = weight_files.read(path)
        model = network(name, weight_files.head_size(state, ("linear",)) or _CLASSES)
        weight_files.fit(model, state, path, f"cifar/{name}")
        labels = labels or weight_files.class_names(path)
    else:
        network(name, _CLASSES)  # report an unknown name first
        named = "" if options.weights is None else f" {options.weights!r}"
        raise MissingWeightsError(f"weights{named}: cifar/{name} has none to fetch; give a file or 'random'")
    if labels and len(labels) != model.linear.out_features:
        raise InvalidInputError(
            f"labels: {len(labels)} given, but the weights' head has {model.linear.out_features} classes"
        )
    return Backbone(
        f"cifar/{name}",
        stem=nn.Sequential(model.conv1, model.bn1, nn.ReLU()),
        blocks=[Block(block, _way_around(block)) for stage in model.stages for block in stage],
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.linear),
        preprocessing=options.preprocessing(_SIZE, MEAN, DEVIATION, crop_fraction=1.0),
        classes=Classes(labels or tuple(f"class {index}" for index in range(model.linear.out_features))),
        resolution_step=4,
    )


def network(name: str, classes: int) -> "CifarResNet":
    """Return the network `name` with random weights; raises InvalidInputError on an unknown name."""
    if name not in _NETWORKS:
        raise unknown_name("cifar", name, _NETWORKS)
    return CifarResNet(*_NETWORKS[name], classes)


class CifarResNet(nn.Module):
    """Stages of basic blocks, with the keys `conv1 bn1 layerS.J.{conv1,bn1,conv2,bn2,shortcut} linear`."""

    def __init__(self, widths: tuple[int, ...], blocks_a_stage: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.depth = len(widths)
        width = widths[0]
        for number, stage_width in enumerate(widths, start=1):
            stage = nn.Sequential()
            for position in range(blocks_a_stage):
                stride = 2 if number > 1 and position == 0 else 1
                stage.append(_BasicBlock(width, stage_width, stride, projects=widths == _WIDE))
                width = stage_width
            self.add_module(f"layer{number}", stage)
        self.linear = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> list[nn.Sequential]:
        """The stages in the order they run."""
        return [getattr(self, f"layer{number}") for number in range(1, self.depth + 1)]

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, 3, side, side)."""
        hidden = functional.relu(self.bn1(self.conv1(images)))
        for stage in self.stages:
            hidden = stage(hidden)
        scores: Tensor = self.linear(hidden.mean(dim=(2, 3)))
        return scores


class _BasicBlock(nn.Module):
    def __init__(self, width_in: int, width_out: int, stride: int, *, projects: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width_out)
        self.shortcut: nn.Module = nn.Identity()
        if width_in != width_out and projects:
            convolution = nn.Conv2d(width_in, width_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width_out))
        elif width_in != width_out:
            self.shortcut = _PaddedShortcut(width_out - width_in, stride)

    def forward(self, hidden: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(hidden)))
        return functional.relu(self.bn2(self.conv2(residual)) + self.shortcut(hidden))


def _way_around(block: nn.Module) -> nn.Module:
    shortcut = block.get_submodule("shortcut")
    # An identity or padded shortcut of rectified input stays nonnegative, so only a projection needs the ReLU.
    return nn.Sequential(shortcut, nn.ReLU()) if isinstance(shortcut, nn.Sequential) else shortcut


class _PaddedShortcut(nn.Module):
    """Option A of section 4.2: subsampling by the stride, and zeros for the new channels."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, hidden: Tensor) -> Tensor:
        before = self.new_channels // 2
        picked = hidden[:, :, :: self.stride, :: self.stride]
        return functional.pad(picked, (0, 0, 0, 0, before, self.new_channels - before))
