"""Narrow networks of the families that PyTorch users export, for the corpus of real exports.

FAMILIES maps a name to a Family: the network, its inputs for a batch and whether it is a classifier, whose
output is [N, classes]. torchvision's and timm's own classes are used where they have the family.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models as tv
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import _mobilenet_v3_conf

from nets import AlexNet, LeNet5, LeNet300, ResNet18, VGG16

CLASSES = 10


class ShortcutA(nn.Module):
    """He et al.'s option A: every second pixel, new channels zero."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels // 4, self.channels // 4))


class BlockA(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.shortcut = ShortcutA(cout) if stride != 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR with option A shortcuts."""

    def __init__(self, width=4):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        widths = [width] * 3 + [2 * width] * 3 + [4 * width] * 3
        blocks, cin = [], width
        for i, cout in enumerate(widths):
            blocks.append(BlockA(cin, cout, 2 if i in (3, 6) else 1))
            cin = cout
        self.blocks, self.linear = nn.Sequential(*blocks), nn.Linear(cin, CLASSES)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(torch.flatten(F.avg_pool2d(x, x.size(3)), 1))


class MixerLayer(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al. 2021)."""

    def __init__(self, dim=16, layers=3):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 8, 8)
        self.layers = nn.Sequential(*[MixerLayer(16, dim) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, CLASSES)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.layers(x)).mean(1))


class TextEncoder(nn.Module):
    """A TransformerEncoder over tokens; masked ignores the padding token 0."""

    def __init__(self, masked=False, dim=16, length=12):
        super().__init__()
        self.masked = masked
        self.embedding = nn.Embedding(50, dim)
        self.position = nn.Parameter(torch.randn(1, length, dim) * 0.1)
        layer = nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(dim, CLASSES)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.position
        if not self.masked:
            return self.head(self.encoder(x).mean(1))
        padding = tokens == 0
        x = self.encoder(x, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).float()
        return self.head((x * kept).sum(1) / kept.sum(1).clamp(min=1))


class TextCNN(nn.Module):
    """Kim 2014: parallel 1-D convolutions and the largest response of each."""

    def __init__(self, dim=12):
        super().__init__()
        self.embedding = nn.Embedding(50, dim)
        self.convs = nn.ModuleList([nn.Conv1d(dim, 8, k) for k in (2, 3, 4)])
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, tokens):
        x = self.embedding(tokens).transpose(1, 2)
        return self.fc(torch.cat([F.relu(c(x)).amax(2) for c in self.convs], 1))


class Recurrent(nn.Module):
    """An embedding, an LSTM or GRU, and a classifier on its last output."""

    def __init__(self, kind, **options):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.rnn = kind(12, 16, batch_first=True, **options)
        self.fc = nn.Linear(32 if options.get("bidirectional") else 16, CLASSES)

    def forward(self, tokens):
        return self.fc(self.rnn(self.embedding(tokens))[0][:, -1])


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class CausalBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-6), RMSNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (y.view(n, t, 2, d // 2).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, d))
        gate, up = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class CausalLM(nn.Module):
    """A causal language model whose output layer is its embedding."""

    def __init__(self, dim=16, length=12):
        super().__init__()
        self.embedding = nn.Embedding(50, dim)
        self.position = nn.Parameter(torch.randn(length, dim) * 0.1)
        self.blocks, self.norm = nn.Sequential(CausalBlock(dim), CausalBlock(dim)), RMSNorm(dim)
        self.head = nn.Linear(dim, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.position)))


class UNet(nn.Module):
    """Two levels, with the operators that segmentation networks add."""

    def __init__(self, w=8):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, w, 3, padding=1), nn.GroupNorm(2, w), nn.PReLU(w))
        self.down2 = nn.Sequential(nn.Conv2d(w, 2 * w, 3, padding=1), nn.InstanceNorm2d(2 * w, affine=True), nn.LeakyReLU(0.1))
        self.middle = nn.Sequential(nn.Conv2d(2 * w, 2 * w, 3, padding=1), nn.ELU())
        self.up = nn.ConvTranspose2d(2 * w, w, 2, 2)
        self.last = nn.Conv2d(4 * w, 5, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        d = F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False)
        d = F.interpolate(d + b, scale_factor=2, mode="nearest")
        return self.last(torch.cat([a, self.up(b), d], 1))


def convnext():
    setting = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)]
    return tv.ConvNeXt(setting, num_classes=CLASSES)


def efficientnet():
    blocks = [(1, 3, 1, 8, 8, 1), (6, 3, 2, 8, 12, 2), (6, 5, 2, 12, 16, 2), (6, 3, 2, 16, 24, 2), (6, 5, 1, 24, 32, 1)]
    return tv.EfficientNet([MBConvConfig(*b, 1.0, 1.0) for b in blocks], dropout=0.2, last_channel=64, num_classes=CLASSES)


def mobilenet_v3():
    setting, last = _mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.25)
    return tv.MobileNetV3(setting, last_channel=max(last // 4, 64), num_classes=CLASSES)


def timm_model(name, **options):
    import timm  # optional: the two families are left out without it

    return timm.create_model(name, num_classes=CLASSES, **options)


def images(*shape):
    return lambda n: (torch.randn(n, *shape),)


def tokens(length=12):
    return lambda n: (torch.randint(1, 50, (n, length)),)


def padded_tokens(n, length=12):
    ids = torch.randint(1, 50, (n, length))
    for i in range(n):
        ids[i, length - i % 5:] = 0
    return (ids,)


@dataclasses.dataclass
class Family:
    build: Callable[[], nn.Module]
    inputs: Callable[[int], tuple]
    classifies: bool = True


GREY, SMALL, MIDDLE, LARGE = images(1, 28, 28), images(3, 32, 32), images(3, 64, 64), images(3, 224, 224)
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}

FAMILIES = {
    "lenet-300-100": Family(lambda: LeNet300((30, 20), "view"), GREY),
    "lenet-5": Family(lambda: LeNet5((4, 6), (20, 12)), GREY),
    "alexnet-cifar": Family(lambda: AlexNet(4), SMALL),
    "alexnet-imagenet": Family(lambda: narrow_alexnet(), LARGE),
    "vgg-16": Family(lambda: VGG16(4), SMALL),
    "vgg-16-bn": Family(lambda: VGG16(4, batch_norm=True), SMALL),
    "resnet-18-cifar": Family(lambda: ResNet18(4), SMALL),
    "resnet-18-imagenet": Family(lambda: ResNet18(4, "imagenet"), MIDDLE),
    "resnet-20": Family(ResNet20, SMALL),
    "resnet-50": Family(lambda: tv.ResNet(tv.resnet.Bottleneck, [1, 2, 2, 1], CLASSES, width_per_group=8), MIDDLE),
    "densenet-121": Family(lambda: tv.DenseNet(4, (2, 3, 4, 2), 8, num_classes=CLASSES), MIDDLE),
    "mobilenet-v2": Family(lambda: tv.MobileNetV2(CLASSES, width_mult=0.25), MIDDLE),
    "mobilenet-v3-small": Family(mobilenet_v3, MIDDLE),
    "efficientnet-b0": Family(efficientnet, MIDDLE),
    "shufflenet-v2": Family(lambda: tv.ShuffleNetV2([2, 3, 2], [8, 16, 32, 64, 64], CLASSES), MIDDLE),
    "squeezenet": Family(lambda: tv.SqueezeNet("1_1", CLASSES), MIDDLE),
    "convnext-t": Family(convnext, MIDDLE),
    "vit": Family(lambda: tv.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES), SMALL),
    "vit-timm": Family(lambda: timm_model("vit_tiny_patch16_224", **VIT), SMALL),
    "deit-timm": Family(lambda: timm_model("deit_tiny_distilled_patch16_224", **VIT), SMALL),
    "swin-t": Family(lambda: tv.SwinTransformer([2, 2], 8, [2, 2], [2, 4], [4, 4], num_classes=CLASSES), SMALL),
    "mlp-mixer": Family(Mixer, SMALL),
    "transformer-text": Family(TextEncoder, tokens()),
    "transformer-text-mask": Family(lambda: TextEncoder(masked=True), padded_tokens),
    "text-cnn": Family(TextCNN, tokens()),
    "lstm": Family(lambda: Recurrent(nn.LSTM), tokens()),
    "bilstm-2": Family(lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), tokens()),
    "gru": Family(lambda: Recurrent(nn.GRU), tokens()),
    "causal-lm": Family(CausalLM, tokens(), classifies=False),
    "unet": Family(UNet, SMALL, classifies=False),
}


def narrow_alexnet():
    """torchvision's AlexNet, every width an eighth."""
    net = tv.AlexNet(CLASSES)
    widths = {3: 3, 64: 8, 192: 24, 384: 48, 256: 32, 9216: 1152, 4096: 64, CLASSES: CLASSES}
    for part in (net.features, net.classifier):
        for i, m in enumerate(part):
            if isinstance(m, nn.Conv2d):
                part[i] = nn.Conv2d(widths[m.in_channels], widths[m.out_channels], m.kernel_size, m.stride, m.padding)
            elif isinstance(m, nn.Linear):
                part[i] = nn.Linear(widths[m.in_features], widths[m.out_features])
    return net
