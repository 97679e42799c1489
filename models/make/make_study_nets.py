"""The networks of docs/studies beyond the LeNets: small, on 28x28 grey images, with PyTorch's initial weights.

    python make_study_nets.py

Writes docs/studies/nets: a ResNet with three blocks, ResNet-18 at a sixteenth of its width, AlexNet at an eighth,
torchvision's VisionTransformer with three layers. Studies draw their own initial weights for every seed, so only
the structure of a file matters to them.
"""

import pathlib

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models as tv

import export
from nets import AlexNet, BasicBlock, ResNet18

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs" / "studies" / "nets"


class ResNet8(nn.Module):
    """One block (He et al. 2016) at each of three resolutions, after a convolution of stride 2."""

    def __init__(self, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width, 1)
        self.layer2 = BasicBlock(width, 2 * width, 2)
        self.layer3 = BasicBlock(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet18():
    """Its stem halves the resolution, which 28x28 images of clothes bear."""
    net = ResNet18(width=4)
    net.conv1 = nn.Conv2d(1, 4, 3, 2, 1, bias=False)
    return net


def alexnet():
    """The last pool moves by one, so that 2x2 positions are left as with 32x32 images."""
    net = AlexNet(width=8)
    net.features[0] = nn.Conv2d(1, 8, 3, stride=2, padding=1)
    net.features[-1] = nn.MaxPool2d(2, 1)
    return net


def vit():
    net = tv.VisionTransformer(
        image_size=28, patch_size=7, num_layers=3, num_heads=4, hidden_dim=48, mlp_dim=96, num_classes=10
    )
    net.conv_proj = nn.Conv2d(1, 48, 7, 7)
    return net


def strip(path):
    """Removes what the exporter notes about each node, which is more than half of a small file."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    inputs = [np.random.default_rng(0).normal(size=(n, 1, 28, 28)).astype(np.float32) for n in (16, 3)]
    for name, build in {"resnet-8": ResNet8, "resnet-18": resnet18, "alexnet": alexnet, "vit": vit}.items():
        torch.manual_seed(0)
        model = build()
        path = FOLDER / f"{name}.onnx"
        export.dynamo(model, torch.from_numpy(inputs[0]), str(path), traces=False, optimize=False)
        strip(path)
        export.check(str(path), model, inputs)
        print(name, sum(p.numel() for p in model.parameters()), "parameters,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
