package unprune

import (
	"math"

	"github.com/unprune/unprune/onnx"
)

// A Vector has one number per trainable parameter: tensor after tensor in the
// order of Weights.Names, running statistics left out. It is a gradient, a
// direction or a step in double precision, whatever the engine computes in.
type Vector []float64

// Dot is the inner product with another vector. Four sums side by side keep the
// processor busy.
func (v Vector) Dot(w Vector) float64 {
	var s0, s1, s2, s3 float64
	w = w[:len(v)]
	n := len(v) &^ 3
	for i := 0; i < n; i += 4 {
		a, b := v[i:i+4:i+4], w[i:i+4:i+4]
		s0 += float64(a[0] * b[0])
		s1 += float64(a[1] * b[1])
		s2 += float64(a[2] * b[2])
		s3 += float64(a[3] * b[3])
	}
	for i := n; i < len(v); i++ {
		s0 += float64(v[i] * w[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// Norm is the Euclidean length.
func (v Vector) Norm() float64 { return math.Sqrt(v.Dot(v)) }

// Axpy is v += a·w.
func (v Vector) Axpy(a float64, w Vector) {
	for i, x := range w[:len(v)] {
		v[i] += float64(a * x)
	}
}

// Scale is v *= a.
func (v Vector) Scale(a float64) {
	for i := range v {
		v[i] *= a
	}
}

// A Part is the piece of a vector that belongs to one parameter.
type Part struct {
	Name   string
	Tensor *onnx.Tensor // the parameter
	At     int          // where the piece starts
}

// Of is the piece of v.
func (p Part) Of(v Vector) Vector { return v[p.At : p.At+p.Tensor.Len()] }

// Parts are the trainable parameters, in the order of vectors.
func (w *Weights) Parts() []Part {
	var parts []Part
	at := 0
	for _, name := range w.Names {
		if !w.Stats[name] {
			parts = append(parts, Part{name, w.Tensors[name], at})
			at += w.Tensors[name].Len()
		}
	}
	return parts
}

// Params is the number of trainable parameters.
func (w *Weights) Params() int {
	n := 0
	for _, p := range w.Parts() {
		n += p.Tensor.Len()
	}
	return n
}

// Vector copies the trainable parameters into a vector.
func (w *Weights) Vector() Vector { return w.Flatten(w.Tensors) }

// Flatten copies tensors that belong to the trainable parameters, such as
// gradients, into a vector; those that are missing count as zero.
func (w *Weights) Flatten(tensors map[string]*onnx.Tensor) Vector {
	v := make(Vector, w.Params())
	for _, p := range w.Parts() {
		read(p.Of(v), tensors[p.Name])
	}
	return v
}

// Spread copies a vector into tensors that belong to the trainable parameters.
func (w *Weights) Spread(v Vector, tensors map[string]*onnx.Tensor) {
	for _, p := range w.Parts() {
		write(tensors[p.Name], p.Of(v))
	}
}

// SetVector replaces the trainable parameters.
func (w *Weights) SetVector(v Vector) { w.Spread(v, w.Tensors) }

func read(dst Vector, t *onnx.Tensor) {
	switch {
	case t == nil:
	case t.DType == onnx.Float64:
		copy(dst, onnx.Of[float64](t))
	default:
		for i, x := range onnx.Of[float32](t) {
			dst[i] = float64(x)
		}
	}
}

func write(t *onnx.Tensor, src Vector) {
	if t.DType == onnx.Float64 {
		copy(onnx.Of[float64](t), src)
		return
	}
	dst := onnx.Of[float32](t)
	for i, x := range src {
		dst[i] = float32(x)
	}
}
