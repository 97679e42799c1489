"""Writes a folder of reference cases with other seeds and hyper-parameters, laid out like unprune/testdata/golden.

    python make_golden.py OUT [--seed 1]
    GOLDEN_DIR=OUT go test ./unprune/unlearn -run TestGolden

Every unlearner is a plain PyTorch loop after the formula that stands on top of its file in unprune/unlearn, run in float32
and in float64 with the same draws. Networks, numbers of samples and of classes, batch sizes that do not divide them, rates,
temperatures and all other settings come from the seed.
"""
import argparse
import json
import math
import pathlib
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.fc1, self.fc = nn.Linear(inputs, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(F.relu(self.fc1(x)))


class CNN(nn.Module):
    def __init__(self, channels, a, b, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, a, 3, padding=1), nn.BatchNorm2d(a)
        self.conv2, self.fc = nn.Conv2d(a, b, 3, padding=1), nn.Linear(b, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        return self.fc(F.relu(self.conv2(x)).mean((2, 3)))


class Case:
    """One run of one algorithm in one precision."""

    def __init__(self, world, model, dtype, draws):
        self.net = world.networks[model][0]().to(dtype)
        self.net.load_state_dict({k: v.to(dtype) if v.is_floating_point() else v for k, v in world.networks[model][1].items()})
        self.net.eval()
        self.params = list(self.net.parameters())
        self.names = [n for n, _ in self.net.named_parameters()]
        self.sets = {s: (world.data[f"{model}_x_{s}"].to(dtype), world.data[f"y_{s}"]) for s in ("retain", "forget")}
        self.steps, self.rates, self.draws, self.extra, self.dtype = [], [], draws, {}, dtype
        self.classes, self.masks, self.model = world.classes, None, model

    def batches(self, which, size):
        x, y = self.sets[which]
        return list(zip(x.split(size), y.split(size)))

    def joint(self):
        (xf, yf), (xr, yr) = self.sets["forget"], self.sets["retain"]
        return torch.cat([xf, xr]), torch.cat([yf, yr])

    def grads(self, loss, **kw):
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.params, torch.autograd.grad(loss, self.params, allow_unused=True, **kw))]

    def mean_gradient(self, which):
        x, y = self.sets[which]
        return self.grads(F.cross_entropy(self.net(x), y))

    def squares(self, batches):
        total = [torch.zeros_like(p) for p in self.params]
        for x, y in batches:
            for t, g in zip(total, self.grads(F.cross_entropy(self.net(x), y))):
                t += g * g / len(batches)
        return total

    def sgd(self, h, decay="weight_decay"):
        self.state = [None] * len(self.params)
        self.rule = (h["kind"], h.get("momentum", 0), h[decay], h.get("betas"), h.get("eps"))

    def step(self, rate, grads):
        """One optimizer step, in the words of the specification."""
        kind, mu, wd, betas, eps = self.rule
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(self.params, grads)):
                if kind == "adamw":
                    p *= 1 - rate * wd
                else:
                    g = g + wd * p
                if kind == "sgd":
                    self.state[i] = g.clone() if self.state[i] is None else mu * self.state[i] + g
                    p -= rate * self.state[i]
                    continue
                m, s, t = self.state[i] or (torch.zeros_like(p), torch.zeros_like(p), 0)
                m, s, t = betas[0] * m + (1 - betas[0]) * g, betas[1] * s + (1 - betas[1]) * g * g, t + 1
                self.state[i] = (m, s, t)
                p -= rate * (m / (1 - betas[0] ** t)) / (torch.sqrt(s / (1 - betas[1] ** t)) + eps)
        self.steps.append(torch.cat([p.detach().reshape(-1) for p in self.params]).numpy().copy())
        self.rates.append(rate)

    def normal(self):
        return [z.to(self.dtype) for z in self.draws["normal"]]

    def flat(self, ts):
        return torch.cat([t.reshape(-1) for t in ts])

    def spread(self, v):
        return [t.reshape(p.shape) for t, p in zip(v.split([p.numel() for p in self.params]), self.params)]


def clipped(grads, c):
    f = min(1, c / (math.sqrt(sum(float((g * g).sum()) for g in grads)) + 1e-6))
    return [g * f for g in grads]


def cosine(rate, e, n):
    return rate * (1 + math.cos(math.pi * e / n)) / 2


def steps_at(h, e):
    return h["unlearn_lr"] * 0.1 ** sum(int(m) <= e for m in h["decreasing_lr"].split(","))


def mean_loss(c, x, y):
    return F.cross_entropy(c.net(x), y)


def ft(c, h, batch):
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    for e in range(h["unlearn_epochs"]):
        for x, y in c.batches("retain", batch):
            c.step(steps_at(h, e), c.grads(mean_loss(c, x, y)))


def ga(c, h, batch):
    c.sgd({"kind": "sgd", **h})
    c.net.train("max_norm" not in h)
    for e in range(h.get("epochs") or h["unlearn_epochs"]):
        for x, y in c.batches("forget", batch):
            loss = -mean_loss(c, x, y)
            if "alpha" in h:
                loss = loss + h["alpha"] * sum(p.abs().sum() for p in c.params)
            g = c.grads(loss)
            c.step(h["lr"] if "lr" in h else steps_at(h, e), clipped(g, h["max_norm"]) if "max_norm" in h else g)


def l1_sparse(c, h, batch):
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    with_l1 = h["unlearn_epochs"] - h["no_l1_epochs"]
    for e in range(h["unlearn_epochs"]):
        alpha = h["alpha"] if with_l1 == 0 else h["alpha"] * (1 - e / with_l1) if e < with_l1 else 0
        for x, y in c.batches("retain", batch):
            c.step(steps_at(h, e), c.grads(mean_loss(c, x, y) + alpha * sum(p.abs().sum() for p in c.params)))


def neggrad_plus(c, h, _):
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    f = c.batches("forget", h["forget_batch"])
    for _ in range(h["epochs"]):
        for i, (x, y) in enumerate(c.batches("retain", h["retain_batch"])):
            retain = mean_loss(c, x, y)
            c.step(h["lr"], c.grads(h["alpha"] * retain - (1 - h["alpha"]) * mean_loss(c, *f[i % len(f)])))


def saliency(c, ratio, batch):
    c.net.eval()
    total = [torch.zeros_like(p) for p in c.params]
    for x, y in c.batches("forget", batch):
        total = [t + g for t, g in zip(total, c.grads(mean_loss(c, x, y)))]
    score = c.flat([t.abs() for t in total])
    mask = torch.zeros_like(score)
    mask[torch.sort(score, descending=True, stable=True).indices[: int(len(score) * ratio)]] = 1
    return c.spread(mask)


def rl(c, h, _, masks=None):
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    n = 0
    for e in range(h["unlearn_epochs"]):
        start = [p.detach().clone() for p in c.params]

        def step(x, y):
            g = c.grads(mean_loss(c, x, y))
            if masks is None:
                return c.step(steps_at(h, e), g)
            c.step(steps_at(h, e), [a * m for a, m in zip(g, masks)])
            with torch.no_grad():
                for p, s, m in zip(c.params, start, masks):
                    p[m == 0] = s[m == 0]
            c.state = [v * m for v, m in zip(c.state, masks)]

        for x, _y in c.batches("forget", h["forget_batch"]):
            step(x, c.draws["randint"][n])
            n += 1
        for x, y in c.batches("retain", h["retain_batch"]):
            step(x, y)


def salun(c, h, _):
    masks = saliency(c, h["saliency_ratio"], h["forget_batch"])
    c.extra = {f"mask/{n}": m.numpy().astype(np.uint8) for n, m in zip(c.names, masks)}
    rl(c, h, _, masks)


def salun_joint(c, h, _):
    masks = saliency(c, h["th"], len(c.sets["forget"][1]))
    c.extra = {f"mask/{n}": m.numpy().astype(np.uint8) for n, m in zip(c.names, masks)}
    labels = c.draws["wrong"]
    c.extra["random_labels"] = labels.numpy()
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    x, _y = c.joint()
    y = torch.cat([labels, c.sets["retain"][1]])
    for e in range(h["epochs"]):
        for bx, by in zip(x.split(h["batch"]), y.split(h["batch"])):
            c.step(cosine(h["lr"], e, h["epochs"]), [g * m for g, m in zip(c.grads(mean_loss(c, bx, by)), masks)])


def fisher(c, h, _):
    total = [torch.zeros_like(p) for p in c.params]
    n = len(c.sets["retain"][1])
    for x, y in c.batches("retain", 1):
        logp = F.log_softmax(c.net(x), 1)[0, y[0]]
        total = [t + (g + 1e-8) ** 2 / n for t, g in zip(total, c.grads(logp))]
    c.extra = {f"fisher_{k}": t.float().numpy() for k, t in zip(c.names, total)}
    with torch.no_grad():
        for p, t, z in zip(c.params, total, c.normal()):
            p += h["scale"] * torch.clamp(torch.sqrt(h["alpha"] / t), max=h["noise_std_clamp_max"]) * z


def fisher_new(c, h, _):
    total = [torch.zeros_like(p) for p in c.params]
    batches = c.batches("retain", h.get("inner_batch", 32))
    for x, y in batches:
        out = c.net(x)
        w = F.softmax(out, 1).mean(0).detach()
        for k in range(c.classes):
            g = c.grads(F.cross_entropy(out, torch.full_like(y, k)), retain_graph=True)
            total = [t + w[k] * a * a / len(batches) for t, a in zip(total, g)]
    c.extra = {f"grad2_{k}": t.float().numpy() for k, t in zip(c.names, total)}
    with torch.no_grad():
        for p, t, z in zip(c.params, total, c.normal()):
            last = p.shape[0] == (10 if h.get("quirk") else c.classes)
            v = h["alpha"] * torch.clamp(1 / (t + 1e-8), max=h.get("var_clamp_max_last", 100.0) if last else h.get("var_clamp_max", 1000.0))
            mu = p.clone()
            if p.dim() > 1:
                v = v.mean(1, keepdim=True).expand_as(p).clone()
            wiped = h["class_to_forget"] if "class_to_forget" in h and last else 0 if h.get("quirk") else None
            if wiped is not None:
                mu[wiped], v[wiped] = 0, 1e-4
            if last or p.dim() == 1:
                v = v * 10
            p.copy_(mu + torch.sqrt(v) * z)


def woodfisher(c, h, _):
    f, r = c.flat(c.mean_gradient("forget")), c.flat(c.mean_gradient("retain"))
    nf, nr = len(c.sets["forget"][1]), len(c.sets["retain"][1])
    k = nf / (nf + nr) * (f - r)
    o, n = None, h["N"]
    for i, (x, y) in enumerate(c.batches("retain", h["retain_batch"])):
        g = c.flat(c.grads(mean_loss(c, x, y)))
        if o is None:
            o = g
        else:
            t = torch.dot(o, g)
            k = k - torch.dot(k, g) / (n + t) * o
            o = o - t / (n + t) * o
        if i > n:
            break
    with torch.no_grad():
        for p, d in zip(c.params, c.spread(k)):
            p += h["alpha"] * d


def cu(c, h, _):
    def norms(rate):
        return rate * sum(torch.norm(p) for p in c.params)

    x, y = c.sets["retain"]
    g = c.grads(F.cross_entropy(c.net(x), y) + norms(h["weight_decay"]))
    total = [torch.zeros_like(p) for p in c.params]
    for i in range(h["s1"]):
        v = [a.clone() for a in g]
        for j in range(h["s2"]):
            rows = c.draws["rows"][i, j]
            first = c.grads(F.cross_entropy(c.net(x[rows]), y[rows]) + norms(h["weight_decay"] + h["gamma"]), create_graph=True)
            hv = c.grads(sum((a * b).sum() for a, b in zip(first, v)))
            v = [a + b - d / h["scale"] for a, b, d in zip(v, g, hv)]
        total = [t + a / h["scale"] / h["s1"] for t, a in zip(total, v)]
    c.extra = {"sample_indices": c.draws["rows"].numpy()}
    with torch.no_grad():
        for p, t, z in zip(c.params, total, c.normal()):
            p += h["std"] * z - t


def scrub(c, h, _):
    kind = "adam" if "lr_decay_epochs" in h else h["opt"]
    c.sgd({"kind": kind, "momentum": h.get("sgda_momentum", 0), **h}, "sgda_weight_decay")
    T, E = h["kd_T"], h["sgda_epochs"]
    teacher = {s: [F.softmax(c.net(x).detach() / T, 1) for x, _y in c.batches(s, h.get(f"{s}_batch", 1))] for s in ("retain", "forget")}
    start = [p.detach().clone() for p in c.params]
    c.net.train()

    def smooth():
        return h.get("smoothing", 0) * sum(torch.norm(p - s) if not torch.equal(p, s) else 0 * p.sum() for p, s in zip(c.params, start))

    def kl(x, q):
        return T * T * (q * (torch.log(q) - F.log_softmax(c.net(x) / T, 1))).sum() / len(x)

    for e in range(E):
        if "lr_decay_epochs" in h:
            rate = h["sgda_learning_rate"] * h["lr_decay_rate"] ** sum(d < e + 1 for d in h["lr_decay_epochs"])
        else:
            rate = cosine(h["sgda_learning_rate"], e, E)
        if e < h["msteps"]:
            for (x, _y), q in zip(c.batches("forget", h["forget_batch"]), teacher["forget"]):
                c.step(rate, c.grads(-kl(x, q) + smooth()))
        for (x, y), q in zip(c.batches("retain", h["retain_batch"]), teacher["retain"]):
            out = c.net(x)
            d = T * T * (q * (torch.log(q) - F.log_softmax(out / T, 1))).sum() / len(x)
            c.step(rate, c.grads(h["gamma"] * F.cross_entropy(out, y) + h["alpha"] * d + smooth()))


def sfron(c, h, _):
    f = c.squares(c.batches("forget", h["forget_batch"]))
    r = c.squares(c.batches("retain", h["retain_batch"]))
    masks = [((a + 1e-15) / (b + 1e-15) >= h["th"]).to(c.dtype) for a, b in zip(f, r)]
    c.extra = {f"mask/{n}": m.numpy().astype(np.uint8) for n, m in zip(c.names, masks)}
    c.sgd({"kind": "sgd", **h})
    c.net.train()
    fb, rb = c.batches("forget", h["forget_batch"]), c.batches("retain", h["retain_batch"])
    n, used = h["n_iters"], 0
    fade = {"cosine": lambda i: (1 + math.cos(math.pi * i / n)) / 2, "linear": lambda i: 1 - i / n}[h["sched"]]
    for i in range(n):
        before, rate = [p.detach().clone() for p in c.params], cosine(h["retain_lr"], i, n)
        if i % h["forget_freq"] == 0:
            x, y = fb[used % len(fb)]
            used += 1
            losses = F.cross_entropy(c.net(x), y, reduction="none")
            w = 1 / (losses.detach() ** h["lambd"] + 1e-15)
            g = c.grads(-h["forget_alpha"] * fade(i) * (w * losses).sum() / w.sum())
            c.step(rate, clipped([a * m for a, m in zip(g, masks)], h["max_norm"]))
        c.step(rate, c.grads(mean_loss(c, *rb[i % len(rb)])))
        if h["ema_beta"] < 1:
            with torch.no_grad():
                for p, b in zip(c.params, before):
                    p.copy_((1 - h["ema_beta"]) * b + h["ema_beta"] * p)


def ssd(c, h, _):
    f = c.squares(c.batches("forget", h["forget_batch"]))
    (xf, yf), (xr, yr) = c.sets["forget"], c.sets["retain"]
    d = c.squares(list(zip(torch.cat([xr, xf]).split(h["full_batch"]), torch.cat([yr, yf]).split(h["full_batch"]))))
    with torch.no_grad():
        for p, a, b in zip(c.params, f, d):
            chosen = a > h["selection_weighting"] * b
            p[chosen] *= torch.clamp((h["dampening_constant"] * b[chosen] / a[chosen]) ** h["exponent"], max=h["lower_bound"])


def bad_teacher(c, h, _):
    c.sgd({"kind": "adam" if "optimizer" in h else "sgd", "weight_decay": 0, **h})
    T, (x, y) = h["KL_temperature"], c.joint()
    bad = type(c)(c.world, c.model, c.dtype, c.draws)
    with torch.no_grad():
        for p, b in zip(bad.net.parameters(), c.draws["bad"]):
            p.copy_(b)
    c.extra = {f"bad_teacher/{k}": v.float().numpy() for k, v in bad.net.state_dict().items() if v.is_floating_point()}
    nf = len(c.sets["forget"][1])
    q = torch.cat([F.softmax(bad.net(x[:nf]) / T, 1), F.softmax(c.net(x[nf:]) / T, 1)]).detach()
    c.net.train()
    for e in range(h["epochs"]):
        for bx, bq in zip(x.split(h["batch"]), q.split(h["batch"])):
            loss = (bq * (torch.log(bq) - F.log_softmax(c.net(bx) / T, 1))).mean()
            c.step(h["lr"] if "optimizer" in h else cosine(h["lr"], e, h["epochs"]), c.grads(loss))


def frozen_negative(c, h, _):
    c.sgd({"kind": "adam", **h})
    c.net.train()
    for _ in range(h["epochs"]):
        for x, y in c.batches("retain", h["batch"]):
            g = [torch.where(p < 1e-6, 0, a) if "weight" in n else a for n, p, a in zip(c.names, c.params, c.grads(mean_loss(c, x, y)))]
            c.step(h["lr"], [a.detach() for a in g])


class World:
    """Networks, data and settings of a seed."""

    def __init__(self, seed):
        self.r, self.g = random.Random(seed), torch.Generator().manual_seed(seed)
        r = self.r
        self.classes = r.choice([3, 5, 7, 10])
        inputs, channels, side = r.choice([9, 12, 17]), r.choice([1, 2, 3]), r.choice([6, 8, 10])
        n = {"retain": r.randint(50, 90), "forget": r.randint(18, 30), "test": r.randint(20, 40)}
        centre = {"mlp": self.randn(self.classes, inputs), "cnn": self.randn(self.classes, channels, side, side)}
        self.data = {}
        for s, k in n.items():
            y = torch.randint(self.classes, (k,), generator=self.g)
            self.data[f"y_{s}"] = y
            for m in centre:
                self.data[f"{m}_x_{s}"] = centre[m][y] + self.randn(*(k, *centre[m].shape[1:]))
        torch.manual_seed(seed)
        width, a, b = r.choice([10, 16, 24]), r.choice([3, 4, 8]), r.choice([5, 6, 12])
        make = {"mlp": lambda: MLP(inputs, width, self.classes), "cnn": lambda: CNN(channels, a, b, self.classes)}
        self.networks = {}
        for m, f in make.items():
            net = f()
            opt = torch.optim.SGD(net.parameters(), 0.05, 0.9)
            for _ in range(20):
                opt.zero_grad()
                x = torch.cat([self.data[f"{m}_x_retain"], self.data[f"{m}_x_forget"]])
                F.cross_entropy(net(x), torch.cat([self.data["y_retain"], self.data["y_forget"]])).backward()
                opt.step()
            self.networks[m] = (f, net.state_dict())
        Case.world = self

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.g)

    def settings(self):
        """Rows: algorithm, models, function, hyper-parameters, batch, words on the order."""
        r = self.r
        pick, real = r.choice, lambda low, high: float(f"{math.exp(r.uniform(math.log(low), math.log(high))):.3g}")
        batch, forget = (lambda: r.randint(7, 24)), (lambda: r.randint(5, 11))

        def unl(rate=0.03):
            return {"unlearn_lr": real(rate / 3, rate), "momentum": pick([0.0, 0.5, 0.9]), "weight_decay": real(1e-4, 5e-3),
                    "unlearn_epochs": pick([2, 3]), "decreasing_lr": pick(["1", "1,2", "2"]), "optimizer": "SGD", "mode": "train"}

        def both():
            return {**unl(), "forget_batch": forget(), "retain_batch": batch(), "num_classes": self.classes}

        def sgd(rate):
            return {"opt": "sgd", "momentum": pick([0.3, 0.9]), "weight_decay": real(1e-4, 5e-3), "lr": real(rate / 3, rate)}

        def retain(h, b):
            return h, b, f"retain set, sequential batches of {b}, per epoch"

        def fset(h, b):
            return h, b, f"forget set, sequential batches of {b}, per epoch"

        adam = {"betas": [pick([0.8, 0.9]), pick([0.99, 0.999])], "eps": 1e-8}
        fnew = {"alpha": real(1e-7, 1e-5), "inner_batch": pick([9, 20, 32]), "var_clamp_max": real(300, 3000)}
        wood = {"alpha": real(1, 5), "N": pick([30, 200, 1000]), "retain_batch": 1, "forget_batch": forget(), "mode": "eval"}

        def sc(**kw):
            return {"opt": "sgd", "gamma": real(0.3, 1.5), "alpha": real(0.05, 0.5), "smoothing": 0.0, "msteps": pick([1, 2]), "kd_T": pick([1.5, 2, 4]),
                    "sgda_epochs": pick([3, 4]), "sgda_learning_rate": real(0.003, 0.01), "sgda_weight_decay": real(1e-4, 1e-3), "sgda_momentum": pick([0.5, 0.9]),
                    "retain_batch": batch(), "forget_batch": forget(), **kw}

        def sf(beta):
            return {"momentum": pick([0.5, 0.9]), "weight_decay": real(1e-4, 5e-3), "retain_lr": real(0.005, 0.02), "n_iters": r.randint(8, 17),
                    "forget_freq": pick([2, 3, 4]), "forget_alpha": real(0.5, 3), "max_norm": real(0.2, 3), "ema_beta": beta, "lambd": pick([0.0, 0.5, 0.8]),
                    "th": pick([0.7, 1, 1.5]), "sched": pick(["cosine", "linear"]), "fisher_epsilon": 1e-15, "coef_epsilon": 1e-15,
                    "retain_batch": batch(), "forget_batch": forget()}

        two, none = ["mlp", "cnn"], (None, "")
        no_max = sc(opt="adamw", msteps=0, sgda_weight_decay=0.05, **adam)
        no_max.pop("forget_batch")
        return [
            ("ft", two, ft, *retain(unl(), batch())),
            ("ga", two, ga, *fset({"lr": real(0.005, 0.02), "momentum": 0.0, "weight_decay": 0, "epochs": 2, "optimizer": "SGD", "batch": (b := forget())}, b)),
            ("ga_momentum", two, ga, *fset(unl(0.01), forget())),
            ("ga_l1", two, ga, *fset({**unl(0.01), "alpha": real(1e-4, 5e-3)}, forget())),
            ("ga_clip", two, ga, *fset({**sgd(0.05), "epochs": 3, "max_norm": real(0.05, 0.5), "forget_batch": (b := forget()), "mode": "EVAL"}, b)),
            ("neggrad_plus", two, neggrad_plus, {**sgd(0.02), "optimizer": "SGD", "opt": "", "alpha": real(0.6, 0.95), "epochs": 2, "retain_batch": batch(), "forget_batch": forget()}, *none),
            ("rl", two, rl, both(), *none),
            ("salun", two, salun, {**both(), "saliency_ratio": pick([0.3, 0.5, 0.75])}, *none),
            ("salun_joint", two, salun_joint, {**sgd(0.02), "epochs": 2, "th": pick([0.15, 0.4]), "batch": batch()}, *none),
            ("l1_sparse", two, l1_sparse, *retain({**unl(), "unlearn_epochs": 4, "alpha": real(5e-4, 5e-3), "no_l1_epochs": pick([0, 1, 4])}, batch())),
            ("fisher", two, fisher, {"alpha": real(1e-10, 1e-8), "scale": real(0.5, 2), "noise_std_clamp_max": real(5e-4, 5e-3), "grad_epsilon": 1e-8}, *none),
            ("fisher_new", two, fisher_new, {**fnew, "quirk": "index 0", "row0_mean": 0.0, "one_dim_var_factor": 10}, *none),
            ("fisher_new_general", two, fisher_new, {**fnew, "var_clamp_max_last": real(30, 300), "factor_last_or_one_dim": 10}, *none),
            ("fisher_new_class", two, fisher_new, {"alpha": fnew["alpha"], "class_to_forget": r.randrange(self.classes), "class_row_mean": 0.0}, *none),
            ("woodfisher", two, woodfisher, wood, *none),
            ("woodfisher_small_n", two, woodfisher, {**wood, "N": pick([5, 11])}, *none),
            ("woodfisher_batched", two, woodfisher, {**wood, "N": pick([4, 50]), "retain_batch": forget()}, *none),
            ("cu", two, cu, {"weight_decay": real(1e-4, 5e-3), "unlearn_batch_size": (b := batch()), "gamma": real(0.003, 0.05), "s1": pick([1, 3]), "s2": r.randint(10, 25),
                             "scale": real(20, 60), "std": real(1e-4, 5e-3)}, b, ""),
            ("scrub", two, scrub, sc(), *none),
            ("scrub_smooth", ["cnn"], scrub, sc(smoothing=real(0.01, 0.1)), *none),
            ("scrub_adamw_min_only", ["mlp"], scrub, no_max, *none),
            ("scrub_original", ["mlp"], scrub, {"gamma": real(0.5, 1), "alpha": real(0.2, 0.8), "kd_T": pick([2, 3]), "msteps": 0, "sgda_epochs": 5, "sgda_learning_rate": real(1e-3, 5e-3),
                                              "lr_decay_epochs": pick([[2, 3], [1, 4]]), "lr_decay_rate": pick([0.1, 0.3]), "sgda_weight_decay": 0.1,
                                              "optimizer": "Adam with L2 in the gradient", **adam, "forget_batch": forget(), "retain_batch": batch()}, *none),
            ("sfron", two, sfron, sf(1.0), *none),
            ("sfron_ema", two, sfron, sf(pick([0.5, 0.8])), *none),
            ("ssd", two, ssd, {"dampening_constant": real(0.5, 1), "selection_weighting": real(1, 3), "lower_bound": pick([0.8, 1]), "exponent": pick([1, 1.5]),
                               "forget_batch": forget(), "full_batch": batch()}, *none),
            ("bad_teacher", two, bad_teacher, {**sgd(0.05), "epochs": 3, "KL_temperature": pick([1, 1.5]), "batch": batch()}, *none),
            ("bad_teacher_adam", ["mlp"], bad_teacher, {"optimizer": "Adam", "lr": real(0.003, 0.01), **adam, "epochs": 2, "batch": batch(), "KL_temperature": pick([1, 3])}, *none),
            ("train_frozen_negative", ["mlp"], frozen_negative, {"optimizer": "Adam (L2 in the gradient)", "lr": real(5e-4, 3e-3), "weight_decay": real(1e-5, 1e-3), **adam, "epochs": 2, "batch": batch()}, *none),
        ]

    def draws(self, model, h, batch):
        params = [p for p in self.networks[model][0]().parameters()]
        nr, nf = len(self.data["y_retain"]), len(self.data["y_forget"])
        size, epochs = h.get("forget_batch", nf), h.get("unlearn_epochs", 0)
        yf = self.data["y_forget"]
        return {
            "normal": [self.randn(*p.shape) for p in params],
            "bad": [self.randn(*p.shape) * 0.3 for p in params],
            "randint": [torch.randint(self.classes, (len(b),), generator=self.g) for _ in range(epochs) for b in yf.split(size)],
            "wrong": (yf + 1 + torch.randint(self.classes - 1, (nf,), generator=self.g)) % self.classes,
            "rows": torch.randint(nr, (h.get("s1", 0), h.get("s2", 0), batch or 0), generator=self.g),
        }


def tensors(net):
    return {k: v.numpy() for k, v in net.state_dict().items() if v.is_floating_point()}


def write(out, world, seed, algorithm, model, function, h, batch, words):
    draws = world.draws(model, h, batch)
    runs = {}
    for dtype in (torch.float32, torch.float64):
        runs[dtype] = Case(world, model, dtype, draws)
        function(runs[dtype], h, batch)
    one, two = runs[torch.float32], runs[torch.float64]
    dir = out / f"{algorithm}_{model}"
    dir.mkdir(parents=True)
    after, after64 = tensors(one.net), tensors(two.net)
    np.savez(dir / "after.npz", **after)
    np.savez(dir / "after64.npz", **after64)
    if one.extra:
        np.savez(dir / "extra.npz", **two.extra)
    if one.steps:
        np.savez(dir / "steps.npz", params=np.stack(one.steps), lr=np.array(one.rates))
    noise = {"rl": "randint", "salun": "randint", "fisher": "normal", "fisher_new": "normal", "cu": "normal"}.get(function.__name__)
    if noise:
        np.savez(dir / "noise.npz", **{f"d{i:03d}_{noise}": v.numpy() for i, v in enumerate(draws[noise])})
    net = world.networks[model][0]()
    net.load_state_dict(world.networks[model][1])
    net.eval()
    torch.onnx.export(net, (world.data[f"{model}_x_test"][:1],), str(dir / "before.onnx"), dynamo=False, opset_version=17, input_names=["input"],
                      output_names=["logits"], dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)
    per = {}
    for k in after:
        d = float(np.abs(after[k] - after64[k]).max())
        per[k] = {"max_abs": d, "atol": max(8 * d, 8 * 2.0**-23 * float(np.abs(after64[k]).max()), 2e-7)}
    case = {"algorithm": algorithm, "model": model, "seed": seed, "data": "../data.npz", "reference": {"repo": "models/make/make_golden.py"},
            "param_order": one.names, "hyper": h, "batch_order": words, "tolerance": {"atol": max(t["atol"] for t in per.values()), "per_tensor": per}}
    (dir / "case.json").write_text(json.dumps(case, indent=1))


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("out", type=pathlib.Path)
    arg.add_argument("--seed", type=int, default=1)
    a = arg.parse_args()
    torch.set_num_threads(1)
    world = World(a.seed)
    a.out.mkdir(parents=True)
    np.savez(a.out / "data.npz", **{k: v.numpy() for k, v in world.data.items()})
    for algorithm, models, function, h, batch, words in world.settings():
        for model in models:
            write(a.out, world, a.seed, algorithm, model, function, dict(h), batch, words)


main()
