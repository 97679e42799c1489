"""Measures in PyTorch what the demo should print for the bundled networks.

    python expected_figures.py lenet-300-100|lenet-5 FORGET SEED...

FORGET is class:0, class:0+1 or random:0.1. Seed 0 starts from the bundled files' weights
(make_lenets.py trains them again, to the same bits); other seeds train an original of their
own. Prints one line for each row of the demo's table, and the diagnostics, as JSON lines.

Definitions: gold is the original's whole recipe on the retained images from the same
initial weights in another order. IoU is between alive sets, counts summed over layers. KL
is the mean of KL(gold || model), natural logarithm, on the test images without the deleted
classes and on the forgotten images.
"""

import copy
import json
import sys
import time

import torch

import fashion_mnist
from nets import LeNet5, LeNet300
from torch.nn import functional as F
from training import Recipe, accuracy, constant, cosine, finetune_pruned, order, train, weight_layers

NETS = {"lenet-300-100": LeNet300, "lenet-5": LeNet5}
RECIPE = Recipe()


def weights(model):
    return {f"{n}.weight": m.weight.detach() for n, m in weight_layers(model)}


def alive(model):
    return {n: w != 0 for n, w in weights(model).items()}


def top(score, count):
    """The mask of the count largest scores; ties go to the lower index."""
    mask = torch.zeros(score.numel(), dtype=torch.bool)
    mask[score.flatten().sort(descending=True, stable=True).indices[:count]] = True
    return mask.view_as(score)


def iou(a, b):
    return sum((a[n] & b[n]).sum() for n in a).item() / sum((a[n] | b[n]).sum() for n in a).item()


def masked_train(model, mask, x, y, epochs, rate, seed):
    """Fine-tunes with the mask applied before the first step and after each."""
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.SGD(
        parameters.values(), rate, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay
    )

    def apply_mask():
        with torch.no_grad():
            for name, m in mask.items():
                parameters[name] *= m

    apply_mask()
    model.train()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = cosine(rate, epoch, epochs)
        for batch in order(len(x), seed, epoch).split(RECIPE.batch):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            for name, m in mask.items():
                parameters[name].grad *= m
            optimizer.step()
            apply_mask()
    return model


def full_run(theta0, data, seed):
    """Dense training and pruning as the original; returns both networks."""
    dense = copy.deepcopy(theta0)
    train(dense, *data, RECIPE.dense_epochs, RECIPE.dense_rate, seed)
    pruned = copy.deepcopy(dense)
    finetune_pruned(pruned, *data, seed + 1)
    return dense, pruned


def rewind(pruned, theta0, a):
    """theta_0 + a (theta - theta_0) on every parameter; the mask is applied later."""
    model, origin = copy.deepcopy(pruned), dict(theta0.named_parameters())
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(origin[name] + a * (p - origin[name]))
    return model


def unprune_by_magnitude(run, p=0.2, rounds=3, rate=0.02):
    """The published loop: grow by |theta_0|, fine-tune an epoch, cut back by magnitude; one last epoch."""
    model, mask = copy.deepcopy(run.pruned), alive(run.pruned)
    origin, parameters = weights(run.theta0), dict(model.named_parameters())
    for i in range(rounds):
        grown = {}
        for name, m in mask.items():
            new = top(origin[name].abs().masked_fill(m, -1), int(p * (~m).sum() + 0.5))
            with torch.no_grad():
                parameters[name][new] = origin[name][new]
            grown[name] = m | new
        masked_train(model, grown, *run.retain, 1, rate, 50 + i)
        mask = {n: top(parameters[n].detach().abs(), int(m.sum())) for n, m in mask.items()}
    return masked_train(model, mask, *run.retain, 1, rate, 59)


def short_run(run, data, epochs=2, schedule=constant):
    """Dense from theta_0 for a few epochs at the original's peak rate."""
    model = copy.deepcopy(run.theta0)
    train(model, *data, epochs, RECIPE.dense_rate, 40, schedule=schedule)
    return model


def blend(run, short, c, dense_known=True):
    """The mask of rescoring by blend, and the smallest extrapolation factor g."""
    origin, moved, dense = weights(run.theta0), weights(short), weights(run.dense)
    evidence, mask, factors = weights(run.dense if dense_known else run.pruned), {}, []
    for name, m in alive(run.pruned).items():
        count = int(m.sum())
        g = ((dense[name] - origin[name]).norm() / (moved[name] - origin[name]).norm()).item()
        x, w = (origin[name] + g * (moved[name] - origin[name])).abs(), evidence[name].abs()
        score = w / w[top(w, count)].mean() + c * x / x[top(x, count)].mean()
        mask[name] = top(score, count)
        factors.append(g)
    return mask, min(factors)


def finish(run, short, mask, a, epochs, rate):
    """Kept weights and biases rewound, added ones from the short run, dropped ones 0; then fine-tuning."""
    model, kept, moved = rewind(run.pruned, run.theta0, a), alive(run.pruned), weights(short)
    with torch.no_grad():
        for name, w in weights(model).items():
            w.copy_(torch.where(kept[name], w, moved[name]))
    return masked_train(model, mask, *run.retain, epochs, rate, 60)


def short_retrain(run):
    model = short_run(run, run.retain, schedule=cosine)
    counts = {n: int(m.sum()) for n, m in alive(run.pruned).items()}
    mask = {n: top(w.abs(), counts[n]) for n, w in weights(model).items()}
    return masked_train(model, mask, *run.retain, RECIPE.finetune_epochs, RECIPE.dense_rate, 61)


class Run:
    """One original, what is deleted, and the two golds."""

    def __init__(self, build, forget, seed, train_set, test_set):
        self.train = train_set
        x, y = train_set
        self.deleted, rows = forgotten(forget, y, seed)
        self.retain, self.forget = (x[~rows], y[~rows]), (x[rows], y[rows])
        tested = ~torch.isin(test_set[1], self.deleted)
        self.test = test_set[0][tested], test_set[1][tested]
        torch.manual_seed(seed)
        self.theta0 = build()
        self.dense, self.pruned = full_run(self.theta0, train_set, 100 * seed + 1)
        self.gold, self.gold2 = (full_run(self.theta0, self.retain, 100 * seed + s)[1] for s in (11, 21))
        self.twin = full_run(self.theta0, train_set, 100 * seed + 31)[1]

    def row(self, name, model, passes):
        """One line of the table."""
        return {
            "row": name, "iou_gold": iou(alive(model), alive(self.gold)),
            "kl_test": divergence(self.gold, model, self.test[0]),
            "kl_forget": divergence(self.gold, model, self.forget[0]),
            "ua": accuracy(model, *self.forget), "ra": accuracy(model, *self.retain),
            "ta": accuracy(model, *self.test), "passes": passes,
        }

    def diagnostics(self, name, mask):
        """What a mask swapped, and whether it was right."""
        old, gold, twin = alive(self.pruned), alive(self.gold), alive(self.twin)
        share = lambda chosen: sum((chosen[n] & gold[n]).sum() for n in old).item() / max(1, count(chosen))
        added = {n: mask[n] & ~old[n] for n in old}
        dropped = {n: old[n] & ~mask[n] for n in old}
        return {
            "mask": name, "iou_gold": iou(mask, gold), "added_in_gold": share(added),
            "dropped_in_gold": share(dropped), "swapped": count(added) / count(old),
            "contrast": iou(mask, gold) - iou(mask, twin),
        }


def count(mask):
    return sum(m.sum() for m in mask.values()).item()


def forgotten(forget, y, seed):
    """The deleted classes and the rows of the training set that go."""
    kind, _, value = forget.partition(":")
    if kind == "class":
        classes = torch.tensor([int(c) for c in value.split("+")])
        return classes, torch.isin(y, classes)
    chosen = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))[: round(float(value) * len(y))]
    rows = torch.zeros(len(y), dtype=torch.bool)
    rows[chosen] = True
    return torch.tensor([], dtype=torch.long), rows


def divergence(gold, model, x):
    with torch.no_grad():
        p, q = (F.softmax(m.eval()(x).double(), 1) for m in (gold, model))
    return (p * ((p + 1e-20).log() - (q + 1e-20).log())).sum(1).mean().item()


def measure(run):
    """All lines for one run."""
    kept = alive(run.pruned)
    yield run.row("original", run.pruned, 0)
    for a, name in ((1.0, "fixed"), (0.75, "rewind .75"), (0.5, "rewind .5")):
        yield run.row(name, masked_train(rewind(run.pruned, run.theta0, a), kept, *run.retain, 4, 0.05, 60), 4)
    paper = unprune_by_magnitude(run)
    yield run.row("unpruned-paper", paper, 4)
    short = short_run(run, run.retain)
    mask, g = blend(run, short, 1.5)
    yield run.row("unpruned (a .75, FT 4, lr .1)", finish(run, short, mask, 0.75, 4, 0.1), 6)
    yield run.row("unpruned (a .75, FT 4, lr .05)", finish(run, short, mask, 0.75, 4, 0.05), 6)
    yield run.row("unpruned (a 1, FT 2, lr .05)", finish(run, short, mask, 1.0, 2, 0.05), 4)
    sparse, _ = blend(run, short, 3.0, dense_known=False)
    yield run.row("unpruned from theta*M, c 3 (FT 4, lr .1)", finish(run, short, sparse, 0.75, 4, 0.1), 6)
    yield run.row("short-retrain", short_retrain(run), 6)
    yield run.row("gold", run.gold, 14)
    yield run.row("gold2", run.gold2, 14)
    control, _ = blend(run, short_run(run, run.train), 1.5)
    for name, m in (
        ("original", kept), ("unpruned-paper", alive(paper)), ("unpruned", mask), ("theta*M", sparse),
        ("control", control), ("gold2", alive(run.gold2)),
    ):
        yield run.diagnostics(name, m)
    yield {"smallest_g": g}


def main():
    name, forget, seeds = sys.argv[1], sys.argv[2], [int(s) for s in sys.argv[3:]]
    sets = [tuple(torch.from_numpy(a) for a in fashion_mnist.load(split)) for split in ("train", "t10k")]
    for seed in seeds:
        start = time.time()
        for line in measure(Run(NETS[name], forget, seed, *sets)):
            line = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}
            print(json.dumps({"net": name, "forget": forget, "seed": seed, **line}), flush=True)
        print(f"{time.time() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
