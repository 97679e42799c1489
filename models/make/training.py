"""The recipe of the demo's networks: SGD with a cosine rate, and magnitude pruning per layer.

One thread and explicit seeds: the same machine gives the same bits.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.nn.utils import prune

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


@dataclass(frozen=True)
class Recipe:
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dense_epochs: int = 10
    dense_rate: float = 0.05
    sparsity: float = 0.9
    finetune_epochs: int = 4
    finetune_rate: float = 0.02


def cosine(rate, epoch, epochs):
    """The rate of epoch (from 0), stepped after each epoch, to 0 after the last."""
    return rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def constant(rate, epoch, epochs):
    return rate


def order(count, seed, epoch):
    """The order of the samples in epoch (from 0)."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(1000 * seed + epoch))


def train(model, x, y, epochs, rate, seed, recipe=Recipe(), schedule=cosine):
    """Trains in place; the last batch of an epoch may be smaller. seed decides the order of the samples."""
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    model.train()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = schedule(rate, epoch, epochs)
        for batch in order(len(x), seed, epoch).split(recipe.batch):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


def weight_layers(model):
    """Name and module of each layer whose weight is pruned: all convolutions and linear layers."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]


def finetune_pruned(model, x, y, seed, recipe=Recipe()):
    """Prunes each layer to its largest magnitudes at once and fine-tunes with the mask held fixed.

    The weights become mask * weight for good, so a pruned weight is +0 or -0.
    """
    for _, layer in weight_layers(model):
        prune.l1_unstructured(layer, "weight", recipe.sparsity)
    train(model, x, y, recipe.finetune_epochs, recipe.finetune_rate, seed, recipe)
    for _, layer in weight_layers(model):
        prune.remove(layer, "weight")


def accuracy(model, x, y):
    """Share of samples whose largest logit is their label's."""
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()
