package train

import (
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Tensors of the engine are float32 or float64; what follows reads and writes
// either.

func elementAt(t *onnx.Tensor, i int) float64 {
	if s, ok := t.Data.([]float32); ok {
		return float64(s[i])
	}
	return onnx.Of[float64](t)[i]
}

func setElement(t *onnx.Tensor, i int, x float64) {
	if s, ok := t.Data.([]float32); ok {
		s[i] = float32(x)
		return
	}
	onnx.Of[float64](t)[i] = x
}

func fill(t *onnx.Tensor, x float64) {
	for i := range t.Len() {
		setElement(t, i, x)
	}
}

func setElements(t *onnx.Tensor, values []float64) {
	switch d := t.Data.(type) {
	case []float32:
		for i, x := range values {
			d[i] = float32(x)
		}
	case []float64:
		copy(d, values)
	}
}

// elementsOf sets values to t's elements. It reads nothing of values, whose memory may
// be new.
func elementsOf(values []float64, t *onnx.Tensor) {
	switch s := t.Data.(type) {
	case []float32:
		for i, x := range s {
			values[i] = float64(x)
		}
	case []float64:
		copy(values, s)
	}
}

// addTo is v += t.
func addTo(v []float64, t *onnx.Tensor) {
	switch s := t.Data.(type) {
	case []float32:
		for i, x := range s {
			v[i] += float64(x)
		}
	case []float64:
		kernel.Axpy(v, 1, s)
	}
}

func copyElements(dst, src *onnx.Tensor) {
	if d, ok := dst.Data.([]float32); ok {
		if s, ok := src.Data.([]float32); ok {
			copy(d, s)
			return
		}
	}
	for i := range dst.Len() {
		setElement(dst, i, elementAt(src, i))
	}
}

// addElements is dst += src.
func addElements(dst, src *onnx.Tensor) {
	switch d := dst.Data.(type) {
	case []float32:
		kernel.Axpy(d, 1, onnx.Of[float32](src))
	case []float64:
		kernel.Axpy(d, 1, onnx.Of[float64](src))
	}
}
