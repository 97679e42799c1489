"""Small networks pruned by the tools that users have, each with its initial and its dense state.

    python make_pruned.py OUT

writes, for torch.nn.utils.prune and N:M tools, OUT/unit.<pattern>[.hooked].<exporter>.onnx with
OUT/unit.{theta0,dense}.<exporter>.onnx, and for Torch-Pruning OUT/<network>.narrow.<exporter>.onnx with
that network's theta0 and dense. manifest.json has what should be recognised of each, and, of the
narrow ones, the output units that Torch-Pruning left of each layer. Widths are no multiples of four,
a layer stays dense here and there, biases are pruned in some: what real files have.
"""
import copy
import json
import pathlib
import sys
import warnings

import numpy as np
import torch
import torch_pruning as tp
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import export

CLASSES, PIXELS = 4, 10


class Unit(nn.Module):
    """Two convolutions and two linear layers, with awkward widths."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3, padding=1)
        self.bn = nn.BatchNorm2d(10)
        self.conv2 = nn.Conv2d(10, 18, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(18 * 4, 34)
        self.fc2 = nn.Linear(34, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.bn(self.conv1(x))))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Coupled(nn.Module):
    """A residual block, a depthwise convolution, a concatenation, and a linear layer over channels and pixels."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.conv1, self.bn1 = nn.Conv2d(12, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv2, self.bn2 = nn.Conv2d(10, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=12, bias=False)
        self.bn3 = nn.BatchNorm2d(12)
        self.branch = nn.Conv2d(12, 8, 3, stride=2, padding=1)
        self.join = nn.Conv2d(20, 9, 1)
        self.fc1 = nn.Linear(9 * 25, 14)
        self.fc2 = nn.Linear(14, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn0(self.stem(x)))
        x = F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        x = torch.cat([F.relu6(self.bn3(self.depthwise(x))), F.relu(self.branch(x))], 1)
        return self.fc2(F.relu(self.fc1(F.relu(self.join(x)).flatten(1))))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.each).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, self.heads * self.each))


class Heads(nn.Module):
    """Two blocks of a vision transformer."""

    def __init__(self, width=16, heads=4, depth=2):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 5, stride=5)
        self.norm1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.attention = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.norm2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.up = nn.ModuleList(nn.Linear(width, 22) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(22, width) for _ in range(depth))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for n1, attention, n2, up, down in zip(self.norm1, self.attention, self.norm2, self.up, self.down):
            x = x + attention(n1(x))
            x = x + down(F.gelu(up(n2(x))))
        return self.head(x.mean(1))


def samples(n=128):
    g = torch.Generator().manual_seed(7)
    y = torch.arange(n) % CLASSES
    centre = torch.randn(CLASSES, 3, PIXELS, PIXELS, generator=g)
    return centre[y] + torch.randn(n, 3, PIXELS, PIXELS, generator=g), y


def train(model, epochs, rate, seed):
    x, y = samples()
    g = torch.Generator().manual_seed(seed)
    step = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=g).split(32):
            step.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            step.step()
    model.eval()


class Pattern:
    """Files of one network by both exporters."""

    def __init__(self, out):
        self.out, self.manifest, self.x = out, [], torch.randn(2, 3, PIXELS, PIXELS)

    def write(self, name, model):
        files = [f"{name}.ts.onnx", f"{name}.dyn.onnx"]
        export.torchscript(model.eval(), self.x, str(self.out / files[0]))
        export.dynamo(model.eval(), self.x, str(self.out / files[1]), traces=False, optimize=False)
        for f in files:
            export.check(str(self.out / f), model, [self.x.numpy()])
        return files

    def add(self, name, model, **facts):
        self.manifest += [{"file": f, **facts} for f in self.write(name, model)]


def layers(model, *names):
    return [(dict(model.named_modules())[n], "weight") for n in names]


ALL = ["conv1", "conv2", "fc1", "fc2"]


def per_layer(method, *names, **options):
    return lambda m: [method(module, name, **options) for module, name in layers(m, *names)]


def mixed(m):
    for n, share in {"conv1": 0.3, "conv2": 0.8, "fc1": 0.6}.items():
        prune.l1_unstructured(dict(m.named_modules())[n], "weight", share)


def with_biases(m):
    for n in ALL[:3]:
        module = dict(m.named_modules())[n]
        prune.l1_unstructured(module, "weight", 0.7)
        prune.l1_unstructured(module, "bias", 0.5)


def ties(m):
    """Weights on a coarse grid, so that many are equal to the global threshold."""
    with torch.no_grad():
        for module, _ in layers(m, *ALL):
            module.weight.copy_((module.weight * 64).round() / 64)
            module.weight[module.weight == 0] = 1 / 256
    prune.global_unstructured(layers(m, *ALL), prune.L1Unstructured, amount=0.6)


def n_of_m(n, m, *names):
    """Keeps the n largest of m consecutive inputs; of r < m at the end ceil(n·r/m)."""

    def apply(model):
        for module, _ in layers(model, *names):
            w = module.weight.detach()
            flat = w.movedim(1, -1) if w.dim() == 4 else w
            mask = torch.zeros_like(flat)
            for start in range(0, flat.shape[-1], m):
                part = flat[..., start : start + m].abs()
                keep = -(-n * part.shape[-1] // m)
                mask[..., start : start + m].scatter_(-1, part.topk(keep, dim=-1).indices, 1.0)
            prune.custom_from_mask(module, "weight", mask.movedim(-1, 1) if w.dim() == 4 else mask)

    return apply


def blocks(model):
    """Blocks of four outputs by one input, the weakest 60 %."""
    for module, _ in layers(model, "conv2", "fc1"):
        w = module.weight.detach()
        out = -(-w.shape[0] // 4)
        norm = torch.stack([w[4 * b : 4 * b + 4].pow(2).sum(0) for b in range(out)])
        if norm.dim() > 2:
            norm = norm.sum((2, 3))
        keep = (norm > norm.flatten().quantile(0.6)).float().repeat_interleave(4, 0)[: w.shape[0]]
        prune.custom_from_mask(module, "weight", keep.reshape(keep.shape + (1,) * (w.dim() - 2)).expand_as(w))


# What is done to a dense network, and the title under which Recognise should know it.
PATTERNS = {
    "l1": (per_layer(prune.l1_unstructured, *ALL, amount=0.75), "weights, per layer"),
    "random": (per_layer(prune.random_unstructured, *ALL, amount=0.5), "weights, per layer"),
    "inner": (per_layer(prune.l1_unstructured, "conv2", "fc1", amount=0.9), "weights, per layer"),
    "biases": (with_biases, "weights, per layer"),
    "mixed": (mixed, "weights, global"),
    "global": (lambda m: prune.global_unstructured(layers(m, *ALL), prune.L1Unstructured, amount=0.8), "weights, global"),
    "ties": (ties, "weights, global"),
    "filters": (per_layer(prune.ln_structured, *ALL[:3], amount=0.5, n=2, dim=0), "filters, per layer"),
    "channels": (per_layer(prune.ln_structured, *ALL[1:], amount=0.5, n=1, dim=1), "channels, per layer"),
    "2of4": (n_of_m(2, 4, *ALL[1:]), "2:4"),
    "1of4": (n_of_m(1, 4, *ALL[1:]), "1:4"),
    "4of8": (n_of_m(4, 8, *ALL[1:]), "4:8"),
    "blocks": (blocks, "blocks of 4x1, per layer"),
}


def single_layers(p):
    torch.manual_seed(1)
    model = Unit()
    p.write("unit.theta0", model)
    train(model, 6, 0.05, 1)
    p.write("unit.dense", model)
    for name, (apply, title) in PATTERNS.items():
        pruned = copy.deepcopy(model)
        apply(pruned)
        p.add(f"unit.{name}.hooked", pruned, title=title)
        for module in list(pruned.modules()):
            for parameter in ("weight", "bias"):
                if prune.is_pruned(module) and hasattr(module, parameter + "_mask"):
                    prune.remove(module, parameter)
        p.add(f"unit.{name}", pruned, title=title)


def drop_heads(attention):
    """Removes the weaker half of the heads by Torch-Pruning's functions; the rows of qkv that are left."""
    h, each = attention.heads, attention.each
    rows = torch.arange(3 * h * each).reshape(3, h, each)
    norm = attention.qkv.weight.detach()[rows.flatten()].reshape(3, h, each, -1).pow(2).sum((0, 2, 3))
    drop = sorted(norm.argsort()[: h // 2].tolist())
    tp.prune_linear_out_channels(attention.qkv, idxs=rows[:, drop].flatten().tolist())
    tp.prune_linear_in_channels(attention.proj, idxs=rows[0, drop].flatten().tolist())
    attention.heads = h - len(drop)
    return sorted(set(range(3 * h * each)) - set(rows[:, drop].flatten().tolist()))


def torch_pruning(p, name, make, **options):
    """One step of Torch-Pruning at one half, and two epochs after it."""
    torch.manual_seed(2)
    model = make()
    p.write(f"{name}.theta0", model)
    train(model, 6, 0.05, 2)
    p.write(f"{name}.dense", model)
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    given = {k: v(model) for k, v in options.items()}
    ignored = [last] + given.pop("ignored", [])
    pruner = tp.pruner.MagnitudePruner(
        model, p.x, tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=0.5, ignored_layers=ignored, **given
    )
    names = {m: n + ".weight" for n, m in model.named_modules()}
    kept = {n: list(range(m.weight.shape[0])) for m, n in names.items() if isinstance(m, (nn.Conv2d, nn.Linear))}
    for group in pruner.step(interactive=True):
        for dep, idxs in group:
            if dep.target.module in names and pruner.DG.is_out_channel_pruning_fn(dep.handler) and names[dep.target.module] in kept:
                kept[names[dep.target.module]] = [i for i in kept[names[dep.target.module]] if i not in set(idxs)]
        group.prune()
    for n, m in model.named_modules():
        if isinstance(m, Attention):
            kept[n + ".qkv.weight"] = drop_heads(m)
    p.add(f"{name}.narrow", model, title="units of groups, per group", kept=kept)
    train(model, 2, 0.02, 3)
    p.add(f"{name}.tuned", model, title="units of groups, per group", kept=kept)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    x, y = samples()
    np.savez_compressed(out / "samples.npz", x=(x * 32).round().clamp(-128, 127).numpy().astype(np.float32) / 32, y=y.numpy())
    p = Pattern(out)
    single_layers(p)
    torch_pruning(p, "coupled", Coupled)
    torch_pruning(
        p, "heads", Heads,
        ignored=lambda m: [m.patch] + [layer for a in m.attention for layer in (a.qkv, a.proj)] + list(m.down),
    )
    (out / "manifest.json").write_text(json.dumps(p.manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
