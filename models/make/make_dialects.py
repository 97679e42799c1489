"""Makes testdata/dialects: narrow networks as PyTorch's two exporters write them, with ONNX Runtime's outputs.

    python make_dialects.py

<network>.<weights>.<dialect>.onnx, where weights is theta0 (before training), trained,
pruned (90 % of each weight matrix, permanently: zeros carry signs) or hooked (the same with
torch.nn.utils.prune still attached), all from one theta0 per network. <network>.<weights>.npz
holds the inputs x5 and x2 (batches of five and two; two only where the batch axis is
dynamic), PyTorch's outputs in evaluation mode y5 and y2, and for each dialect ONNX
Runtime's as <dialect>/y5 and <dialect>/y2. manifest.json lists every file with what is
special about it.
"""

import collections
import copy
import json
import pathlib

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import export
import fashion_mnist
from nets import AlexNet, LeNet5, LeNet300, ResNet18, VGG16
from training import weight_layers

FOLDER = fashion_mnist.FOLDER.parent / "dialects"
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
BATCHES = (5, 2)


class ConvNorm(nn.Module):
    """A convolution of more than 8,192 weights between batch normalisations.

    Above that size the default exporter leaves weight * mask of a pruning hook unfolded.
    """

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 31, 3, padding=1, bias=False), nn.BatchNorm2d(31)
        self.conv2, self.bn2 = nn.Conv2d(31, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


NETS = {
    "lenet-300-100": (lambda: LeNet300(hidden=(11, 9)), GREY),
    "lenet-300-100-view": (lambda: LeNet300(hidden=(11, 9), flatten="view"), GREY),
    "lenet-5": (lambda: LeNet5(channels=(4, 6), hidden=(20, 12)), GREY),
    "alexnet": (lambda: AlexNet(width=2), COLOUR),
    "vgg-16": (lambda: VGG16(width=2), COLOUR),
    "vgg-16-bn": (lambda: VGG16(width=2, batch_norm=True), COLOUR),
    "resnet-18-cifar": (lambda: ResNet18(width=2), COLOUR),
    "resnet-18-imagenet": (lambda: ResNet18(width=2, stem="imagenet"), COLOUR),
    "conv-norm": (ConvNorm, COLOUR),
    "lenet-5-softmax": (lambda: nn.Sequential(LeNet5((4, 6), (20, 12)), nn.Softmax(1)), GREY),
    "lenet-5-log-softmax": (lambda: nn.Sequential(LeNet5((4, 6), (20, 12)), nn.LogSoftmax(1)), GREY),
}

TS, DYN = export.torchscript, export.dynamo
DIALECTS = {
    # name: (exporter, settings, what is special)
    "ts13-plain": (TS, {"opset": 13, "fold": True, "dynamic": False, "named": False}, "BN folded, fixed batch, values numbered"),
    "ts17-plain": (TS, {"fold": True}, "BN folded"),
    "ts17-unfolded": (TS, {}, "BN and all names kept"),
    "ts17-training": (TS, {"training": True}, "BN with training_mode=1 and three outputs, Dropout with training_mode=true"),
    "ts17-inputs": (TS, {"keep_initializers_as_inputs": True}, "initializers are graph inputs too"),
    "dyn20-plain": (DYN, {"dynamic": False}, "BN folded, fixed batch"),
    "dyn20-dynamic": (DYN, {}, "BN folded"),
    "dyn20-unoptimized": (DYN, {"optimize": False}, "BN and all names kept"),
    "dyn20-train": (DYN, {"training": True}, "model in training mode: Dropout kept, BN by running statistics"),
    "dyn20-external": (DYN, {"external_data": True}, "large weights in a side file"),
    "dyn23-dynamic": (DYN, {"opset": 23}, "BN folded"),
}
MAIN = (
    "ts13-plain", "ts17-plain", "ts17-unfolded", "ts17-training",
    "dyn20-plain", "dyn20-dynamic", "dyn20-unoptimized", "dyn23-dynamic",
)
BOTH = ("ts17-plain", "ts17-unfolded", "dyn20-dynamic", "dyn20-unoptimized")
CASES = (
    # network, weights, dialects
    ("lenet-300-100", "trained", (*MAIN, "dyn20-external")),
    ("lenet-300-100", "theta0", ("ts17-unfolded", "dyn20-dynamic")),
    ("lenet-300-100-view", "trained", MAIN),
    ("lenet-5", "trained", (*MAIN, "ts17-inputs")),
    ("lenet-5", "pruned", BOTH),
    ("lenet-5", "hooked", BOTH),
    ("alexnet", "trained", (*MAIN, "dyn20-train")),
    ("vgg-16", "trained", MAIN),
    ("vgg-16-bn", "trained", MAIN),
    ("resnet-18-cifar", "trained", MAIN),
    ("resnet-18-cifar", "theta0", BOTH),
    ("resnet-18-cifar", "pruned", BOTH),
    ("resnet-18-imagenet", "trained", MAIN),
    ("conv-norm", "trained", BOTH),
    ("conv-norm", "hooked", BOTH),
    ("lenet-5-softmax", "trained", ("ts17-plain", "dyn20-dynamic")),
    ("lenet-5-log-softmax", "trained", ("ts17-plain", "dyn20-dynamic")),
)


def train(model, shape):
    """A few steps on random data, so that no two parameters or statistics stay equal."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    model.train()
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(16, *shape)), torch.randint(0, 10, (16,))).backward()
        optimizer.step()


def make_weights(build, shape):
    """The network as theta0, trained, hooked and pruned."""
    torch.manual_seed(7)
    theta0 = build()
    trained = copy.deepcopy(theta0)
    train(trained, shape)
    pruned = copy.deepcopy(trained)
    for _, layer in weight_layers(pruned):
        prune.l1_unstructured(layer, "weight", 0.9)
        prune.remove(layer, "weight")
    hooked = build()
    hooked.load_state_dict(trained.state_dict())
    for _, layer in weight_layers(hooked):
        prune.l1_unstructured(layer, "weight", 0.9)
    return {"theta0": theta0, "trained": trained, "pruned": pruned, "hooked": hooked}


def random_images(shape):
    """One batch of each size; multiples of 1/8, which compress."""
    generator = np.random.default_rng(7)
    return [generator.integers(-16, 17, (n, *shape)).astype(np.float32) / 8 for n in BATCHES]


def describe(path, entry):
    """Adds to entry what the file holds."""
    model = onnx.load(path, load_external_data=False)
    return entry | {
        "opset": model.opset_import[0].version,
        "initializers": len(model.graph.initializer),
        "operators": dict(sorted(collections.Counter(n.op_type for n in model.graph.node).items())),
    }


def export_dialect(stem, dialect, model, inputs):
    """Writes one file; returns its manifest entry and the outputs of ONNX Runtime."""
    exporter, settings, note = DIALECTS[dialect]
    path = FOLDER / f"{stem}.{dialect}.onnx"
    if exporter is DYN:
        settings = {"traces": False} | settings
    # A copy, since the exporters leave traces in a module.
    exporter(copy.deepcopy(model), torch.from_numpy(inputs[0]), str(path), **settings)
    if not settings.get("dynamic", True):
        inputs = inputs[:1]
    if dialect == "ts17-training":  # normalises by the batch's own statistics
        onnx.checker.check_model(str(path), full_check=True)
        outputs = [export.run(str(path), x) for x in inputs]
    else:
        outputs = export.check(str(path), model, inputs)
    files = [p.name for p in sorted(FOLDER.glob(f"{path.name}*"))]
    entry = {"file": path.name, "side_files": files[1:], "data": f"{stem}.npz", "note": note}
    entry |= {"batches": [len(x) for x in inputs]}
    return describe(path, entry), {f"{dialect}/y{len(y)}": y for y in outputs}


def make_case(net, weights, dialects, model, inputs):
    """Writes the files of one network with one set of weights; returns their manifest entries."""
    stem = f"{net}.{weights}"
    arrays = {f"x{len(x)}": x for x in inputs}
    with torch.no_grad():
        arrays |= {f"y{len(x)}": model.eval()(torch.from_numpy(x)).numpy() for x in inputs}
    entries = []
    for dialect in dialects:
        entry, outputs = export_dialect(stem, dialect, model, inputs)
        arrays |= outputs
        entries.append({"network": net, "weights": weights, "dialect": dialect, **entry})
    np.savez_compressed(FOLDER / f"{stem}.npz", **arrays)
    return entries


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    entries = []
    for net, (build, shape) in NETS.items():
        variants, inputs = make_weights(build, shape), random_images(shape)
        for name, weights, dialects in CASES:
            if name == net:
                entries += make_case(net, weights, dialects, variants[weights], inputs)
    manifest = {"torch": torch.__version__.split("+")[0], "files": entries}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    names = [p.name for p in pathlib.Path(FOLDER).iterdir() if p.name != "SHA256SUMS"]
    fashion_mnist.write_checksums(FOLDER, names)


if __name__ == "__main__":
    main()
