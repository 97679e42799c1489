// Package npz reads and writes tensors in NumPy's formats: a single array
// (.npy) and a zip archive of arrays (.npz).
//
// Arrays come back as [onnx.Tensor] values in row-major order, whatever their
// byte order and whether they were stored in C or in Fortran order. Element
// types are the booleans, integers and floats that NumPy and ONNX share;
// anything else (strings, objects, structures) is refused: object arrays are
// pickles, which run code.
//
// Files are not trusted. Headers are matched against the format's grammar,
// sizes are checked against what the file can really hold before memory is
// taken, and no input makes the package panic.
//
// Writing is reproducible: entries carry no time stamp and are stored
// uncompressed, so equal tensors give equal bytes.
//
// The format is that of NumPy's numpy.lib.format (versions 1.0, 2.0, 3.0). The
// tests use codeberg.org/sbinet/npyio as an independent reader and writer; it
// is not used for the files themselves because its header parser panics on
// malformed input and it cannot write a flat slice as an array with a shape.
package npz
