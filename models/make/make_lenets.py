"""Trains, prunes and exports LeNet-300-100 and LeNet-5 on the bundled Fashion-MNIST subset.

    python make_lenets.py

Writes testdata/lenet-300-100 and testdata/lenet-5: the stages theta0 (before training),
dense (trained) and pruned, as today's default exporter writes them; the same stages from
the TorchScript exporter under torchscript/; recipe.json and SHA256SUMS.
"""

import copy
import dataclasses
import hashlib
import json

import numpy as np
import torch

import export
import fashion_mnist
from nets import LeNet5, LeNet300
from training import Recipe, accuracy, finetune_pruned, train, weight_layers

SEED = 0
DENSE_ORDER, FINETUNE_ORDER = 1, 2
STAGES = ("theta0", "dense", "pruned")
NETS = (
    # folder, class, stages that the TorchScript exporter writes as well
    ("lenet-300-100", LeNet300, ("theta0", "pruned")),
    ("lenet-5", LeNet5, STAGES),
)


def make_stages(build, x, y):
    """The three stages of one network; theta0 has PyTorch's default initialisation."""
    torch.manual_seed(SEED)
    stages = {"theta0": build()}
    recipe = Recipe()
    stages["dense"] = copy.deepcopy(stages["theta0"])
    train(stages["dense"], x, y, recipe.dense_epochs, recipe.dense_rate, DENSE_ORDER)
    stages["pruned"] = copy.deepcopy(stages["dense"])
    finetune_pruned(stages["pruned"], x, y, FINETUNE_ORDER)
    return stages


def write_exports(folder, stages, torchscript_stages, inputs):
    """Exports and checks every stage; returns the names of the files."""
    sample = torch.from_numpy(inputs[0])
    (folder / "torchscript").mkdir(parents=True, exist_ok=True)
    files = []
    for stage in STAGES:
        files.append(f"{stage}.onnx")
        export.dynamo(stages[stage], sample, str(folder / files[-1]))
        export.check(str(folder / files[-1]), stages[stage], inputs)
        if stage in torchscript_stages:
            files.append(f"torchscript/{stage}.onnx")
            export.torchscript(stages[stage], sample, str(folder / files[-1]))
            export.check(str(folder / files[-1]), stages[stage], inputs)
    return files


def write_recipe(folder, name, stages, files, train_set, test_set):
    """Writes recipe.json: how the files were made and what they reach."""
    theta0 = dict(stages["theta0"].named_parameters())
    test = {s: round(accuracy(stages[s], *test_set), 4) for s in STAGES}
    document = {
        "name": name,
        "torch": torch.__version__.split("+")[0],
        "seed": SEED,
        "initialization": "PyTorch's default",
        "dense_order_seed": DENSE_ORDER,
        "finetune_order_seed": FINETUNE_ORDER,
        "order": "torch.randperm with a generator seeded 1000 * order seed + epoch, epochs from 0",
        "train_images": len(train_set[1]),
        "test_images": len(test_set[1]),
        "mean": fashion_mnist.MEAN,
        "deviation": fashion_mnist.DEVIATION,
        "optimizer": "SGD",
        "schedule": "cosine to 0, stepped after each epoch",
        "pruner": "magnitude per layer, one shot, all weight matrices",
        **dataclasses.asdict(Recipe()),
        "test_accuracy": test,
        "train_accuracy": {s: round(accuracy(stages[s], *train_set), 4) for s in STAGES},
        "layer_sparsity": {
            f"{n}.weight": (m.weight == 0).double().mean().item() for n, m in weight_layers(stages["pruned"])
        },
        "distance_to_theta0": {
            n: (p - theta0[n]).double().norm().item() for n, p in stages["dense"].named_parameters()
        },
        "sha256": {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files},
    }
    (folder / "recipe.json").write_text(json.dumps(document, indent=2) + "\n")
    print(name, test)


def main():
    train_set, test_set = (
        tuple(torch.from_numpy(a) for a in fashion_mnist.load(split)) for split in ("train", "t10k")
    )
    inputs = [np.ascontiguousarray(test_set[0][:n].numpy()) for n in (16, 3)]
    for name, build, torchscript_stages in NETS:
        folder = fashion_mnist.FOLDER.parent / name
        stages = make_stages(build, *train_set)
        files = write_exports(folder, stages, torchscript_stages, inputs)
        write_recipe(folder, name, stages, files, train_set, test_set)
        fashion_mnist.write_checksums(folder, [*files, "recipe.json"])


if __name__ == "__main__":
    main()
