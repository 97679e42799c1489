// Package models carries the data and networks of the demo inside the program:
// a subset of Fashion-MNIST, and LeNet-300-100 and LeNet-5 trained and pruned
// on it by PyTorch.
//
// # Provenance
//
// Fashion-MNIST is by Zalando SE (2017, MIT licence), taken from Debian's
// package dataset-fashion-mnist: the first 10,000 training images and all
// 10,000 test images, 28x28 grey, ten classes, unchanged but for the cut.
//
// The networks were made by make/make_lenets.py: PyTorch's default
// initialisation, SGD with momentum, a cosine rate, one-shot magnitude pruning
// of 90 % of each weight matrix, fine-tuning with the mask held fixed. Each
// comes in three stages (before training, trained, pruned), written by
// PyTorch's default exporter at opset 20 with a dynamic batch axis. Zeros of
// the pruned stage carry the sign of the weight they replace, as PyTorch
// leaves them: about half are -0.
//
// # Fixtures
//
// Folder testdata holds, besides the embedded files, what tests of other
// packages read: gradients (whole training graphs with PyTorch's losses,
// gradients and optimizer steps), dialects (one file for each habit of
// PyTorch's exporters), and the demo's networks from the older TorchScript
// exporter. Folder make holds the scripts that made them. Every folder has a
// SHA256SUMS file.
package models
