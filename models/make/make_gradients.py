"""Makes testdata/gradients: whole networks with PyTorch's losses, gradients and optimizer steps.

    python make_gradients.py

For each network <name>.onnx (TorchScript exporter, opset 17, nothing folded: batch
normalisation and PyTorch's names stay), for some <name>.dynamo.onnx (default exporter,
optimize=False), and <name>.npz with

    x [8,C,H,W] float32, y [8] int64
    logits_eval, loss_eval, grad_eval/<parameter>      batch normalisation by running statistics
    logits_train, loss_train, grad_train/<parameter>   by the batch's own
    stats/<buffer>                running statistics after one forward pass in training mode
    sgd3/<parameter>, nesterov3/, adam3/, adamw3/      after three steps on this batch in
                                  training mode (some networks; running statistics included)

Everything is computed in float64 and stored in float32. A ReLU whose input is within
rounding of zero, or a near tie in a max pool, would make float32 implementations disagree:
the script takes the first seed where neither PyTorch's float32 run nor rounding noise on
the weights moves any result by more than TOLERANCE of its tensor's largest entry, so that
a comparison at 1e-4 is safe. manifest.json has the settings and the tensors whose gradient
is zero but for rounding (biases in front of batch normalisation).
"""

import copy
import itertools
import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import export
import fashion_mnist
from nets import AlexNet, LeNet5, LeNet300, ResNet18, VGG16

FOLDER = fashion_mnist.FOLDER.parent / "gradients"
BATCH = 8
TOLERANCE = 2e-5
NOISE, NOISE_RUNS = 2e-7, 4
OPTIMIZERS = {
    "sgd3": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}),
    "nesterov3": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
    "adam3": (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 1e-4}),
    "adamw3": (torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 1e-2}),
}
NETS = {
    # name: (network, image shape, with optimizer steps and the default exporter's form)
    "lenet-300-100": (lambda: LeNet300(hidden=(40, 20)), (1, 28, 28), False),
    "lenet-5": (lambda: LeNet5(hidden=(60, 42)), (1, 28, 28), True),
    "alexnet": (lambda: AlexNet(width=8, dropout=0.0), (3, 32, 32), False),
    "vgg-16": (lambda: VGG16(width=4, dropout=0.0), (3, 32, 32), False),
    "vgg-16-bn": (lambda: VGG16(width=4, batch_norm=True, dropout=0.0), (3, 32, 32), False),
    "resnet-18": (lambda: ResNet18(width=4), (3, 32, 32), True),
}


def randomize(model, shape):
    """Weights that keep the signal alive in deep networks, and no default value left anywhere.

    Running statistics are those of one random batch, disturbed, so that evaluation and
    training mode differ but neither saturates.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(64, *shape))
        for norm in norms:
            norm.momentum = 0.1
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.5)
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)


def statistics(model):
    return {n: b for n, b in model.named_buffers() if not n.endswith("num_batches_tracked")}


def record_pass(model, x, y, mode):
    """Logits, loss and gradients of one pass; in training mode the updated running statistics too."""
    model = copy.deepcopy(model).train(mode == "train")
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    arrays = {f"logits_{mode}": logits, f"loss_{mode}": loss}
    arrays |= {f"grad_{mode}/{n}": p.grad for n, p in model.named_parameters()}
    if mode == "train":
        arrays |= {f"stats/{n}": b for n, b in statistics(model).items()}
    return arrays


def record_steps(model, x, y, key):
    """Parameters and running statistics after three optimizer steps."""
    model = copy.deepcopy(model).train()
    kind, settings = OPTIMIZERS[key]
    optimizer = kind(model.parameters(), **settings)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return {f"{key}/{n}": t for n, t in [*model.named_parameters(), *statistics(model).items()]}


def record(model, x, y, steps):
    arrays = record_pass(model, x, y, "eval") | record_pass(model, x, y, "train")
    for key in OPTIMIZERS if steps else ():
        arrays |= record_steps(model, x, y, key)
    return {k: a.detach().double().numpy() for k, a in arrays.items()}


def rounding_only(arrays):
    """Parameters whose gradient is zero in exact arithmetic, as keys grad_<mode>/<parameter>."""
    gradients = {k: np.abs(a).max() for k, a in arrays.items() if k.startswith("grad_")}
    largest = max(gradients.values())
    return sorted(k for k, m in gradients.items() if m < 1e-12 * largest)


def perturbed(model, seed):
    """A copy whose parameters carry relative noise of the size of float32 rounding."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p *= 1 + NOISE * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model


def worst_deviation(want, runs, ignored):
    """The largest error of any run relative to a tensor's largest entry, and that tensor's key."""
    return max(
        (np.abs(want[k] - run[k]).max() / np.abs(want[k]).max(), k)
        for run in runs for k in want if k not in ignored
    )


def find_stable(build, shape, steps):
    """The first seed without kinks near rounding: seed, model, batch, results and their deviation."""
    for seed in itertools.count(1):
        torch.manual_seed(seed)
        model = build()
        randomize(model, shape)
        x, y = torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))
        double = copy.deepcopy(model).double()
        arrays = record(double, x.double(), y, steps)
        ignored = rounding_only(arrays)
        runs = [record(model, x, y, steps)]
        runs += [record(perturbed(double, i), x.double(), y, steps) for i in range(NOISE_RUNS)]
        deviation, _ = worst_deviation(arrays, runs, ignored)
        if deviation <= TOLERANCE:
            return seed, model, x, y, arrays, ignored, float(deviation)


def make(name, build, shape, steps):
    """Writes one fixture; returns its entry in the manifest."""
    seed, model, x, y, arrays, ignored, deviation = find_stable(build, shape, steps)
    models = [f"{name}.onnx"]
    export.torchscript(model, x, str(FOLDER / models[0]))
    if steps:
        models.append(f"{name}.dynamo.onnx")
        export.dynamo(model, x, str(FOLDER / models[1]), optimize=False)
    for file in models:
        export.check(str(FOLDER / file), model, [x.numpy(), x[:3].numpy()])
    arrays = {k: a.astype(np.float32) for k, a in arrays.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", x=x.numpy(), y=y.numpy(), **arrays)
    print(f"{name}: seed {seed}, loss {arrays['loss_eval']:.3f} {arrays['loss_train']:.3f}, deviation {deviation:.1e}")
    return {
        "name": name, "seed": seed, "models": models, "data": f"{name}.npz",
        "parameters": [n for n, _ in model.named_parameters()],
        "rounding_only": ignored, "deviation": float(f"{deviation:.2g}"),
    }


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    entries = [make(name, *net) for name, net in NETS.items()]
    manifest = {
        "torch": torch.__version__.split("+")[0],
        "optimizers": {k: {"kind": kind.__name__, **settings} for k, (kind, settings) in OPTIMIZERS.items()},
        "networks": entries,
    }
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    files = [f for e in entries for f in (*e["models"], e["data"])]
    fashion_mnist.write_checksums(FOLDER, ["manifest.json", *files])


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    main()
