// Package ort runs ONNX models in ONNX Runtime, the second of the two
// executors. It confirms that what the project writes means the same
// elsewhere, and runs training graphs on hardware that the native executor
// does not reach.
//
// Using it takes three steps: [Find] (or [Install]) says where the shared
// library is, [Open] loads it once per process, [NewSession] loads a model.
//
//	lib, err := ort.Find("")
//	err = ort.Open(lib)
//	s, err := ort.NewSession(model, ort.Options{Threads: 2})
//	defer s.Close()
//	outs, err := s.Run(ctx, map[string]*onnx.Tensor{"x": x})
//
// Tensors are row-major. A session reads the memory of its feeds only while a
// call runs; tensors that Run returns belong to the caller.
//
// cgo is confined to this package. In a build without it everything that
// needs the library returns [ErrNoCgo], while Find, Install and [Compare]
// work as usual. Nothing else below the command reads the environment: Find
// looks at UNPRUNE_ORT_LIB, and at VIRTUAL_ENV and PATH for a Python.
package ort
