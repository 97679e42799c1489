"""Makes what the study of all unlearners on ResNet-18 takes, in the current folder: large, and quickly made again.

    python make_cifar.py

Writes resnet-18-full.onnx, the network at full width (He et al. 2016, the form for 32x32 images, 11.2 million
parameters), and the folder cifar-10: the bundled Fashion-MNIST images in the shape and files of CIFAR-10's binary
version, grey on all three planes, with a black border. A copy of CIFAR-10 in that folder serves as well.
"""

import pathlib

import numpy as np
import torch

import export
import fashion_mnist
from nets import ResNet18

BATCHES = 5  # files of training images


def records(split):
    """One row per image: the label, then the red, green and blue plane."""
    x = fashion_mnist.read_idx(fashion_mnist.FOLDER / f"{split}-images-idx3-ubyte.gz")
    y = fashion_mnist.read_idx(fashion_mnist.FOLDER / f"{split}-labels-idx1-ubyte.gz")
    plane = np.pad(x, ((0, 0), (2, 2), (2, 2))).reshape(len(x), -1)
    return np.concatenate([y[:, None], plane, plane, plane], axis=1)


def main():
    folder = pathlib.Path("cifar-10")
    folder.mkdir(exist_ok=True)
    for i, part in enumerate(np.array_split(records("train"), BATCHES), 1):
        (folder / f"data_batch_{i}.bin").write_bytes(part.tobytes())
    (folder / "test_batch.bin").write_bytes(records("t10k").tobytes())

    torch.manual_seed(0)
    model = ResNet18()
    inputs = [np.random.default_rng(0).normal(size=(n, 3, 32, 32)).astype(np.float32) for n in (4, 3)]
    export.dynamo(model, torch.from_numpy(inputs[0]), "resnet-18-full.onnx", traces=False, optimize=False)
    export.check("resnet-18-full.onnx", model, inputs)


if __name__ == "__main__":
    main()
