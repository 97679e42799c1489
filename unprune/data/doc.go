// Package data reads labelled samples and chooses which of them to forget.
//
// A [Dataset] holds all samples in memory: inputs as one float32 tensor
// [samples, ...] in row-major order (images NCHW), labels as class indices.
// [Load] recognises the format of a path: a .npz file, a folder of IDX files
// (MNIST and its relatives, gzipped or not), a CIFAR-10 or CIFAR-100 binary
// folder, or a folder with one folder of images per class. Pixels stored as
// bytes become numbers from 0 to 1; [Normalization] then maps them to what the
// model was trained with.
//
// Files are not trusted: sizes are checked before memory is taken, a NaN, an
// infinity or a label out of range is an error that says where it is.
//
// A [Forget] is a parsed specification ("class:3", "random:0.1", a file of
// indices); [Forget.Select] turns it into sample indices. Everything random is
// drawn from a [Stream], which depends on nothing but a seed and two names, so
// the same seed gives the same split and the same batches on every machine.
package data
