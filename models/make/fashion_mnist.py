"""Makes testdata/fashion-mnist from Debian's package dataset-fashion-mnist.

    apt-get install dataset-fashion-mnist
    python fashion_mnist.py [folder of the package's IDX files]

Keeps the first 10,000 training images with their labels and all 10,000 test images,
as gzipped IDX files whose bytes depend on nothing but their content. Reading
functions for the other scripts are below.
"""

import gzip
import hashlib
import pathlib
import struct
import sys

import numpy as np

PACKAGE = pathlib.Path("/usr/share/datasets/fashion-mnist")
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "fashion-mnist"
TRAINING_IMAGES = 10_000
FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)
MEAN, DEVIATION = 0.2860, 0.3530


def read_idx(path):
    """The array of bytes in a gzipped IDX file: magic 0x0000 08 rank, extents as big-endian uint32, values."""
    data = gzip.open(path, "rb").read()
    zeros, kind, rank = struct.unpack(">HBB", data[:4])
    if zeros != 0 or kind != 8:
        raise SystemExit(f"{path}: not an IDX file of bytes")
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path, array):
    """Writes bytes as gzipped IDX without time or name in the gzip header."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(header + array.tobytes())


def load(split):
    """Images [N,1,28,28] float32, normalised, and labels [N] int64 of "train" or "t10k"."""
    x = read_idx(FOLDER / f"{split}-images-idx3-ubyte.gz").astype(np.float32)[:, None]
    y = read_idx(FOLDER / f"{split}-labels-idx1-ubyte.gz").astype(np.int64)
    return (x / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION), y


def write_checksums(folder, names):
    """Writes SHA256SUMS, which `sha256sum -c` reads."""
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in sorted(names)]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        array = read_idx(source / name)
        if name.startswith("train"):
            array = array[:TRAINING_IMAGES]
        write_idx(FOLDER / name, array)
    write_checksums(FOLDER, [*FILES, "LICENSE"])


if __name__ == "__main__":
    main()
