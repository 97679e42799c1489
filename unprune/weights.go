package unprune

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx"
)

// Weights is the state of a network: named tensors, float32 or float64, in a
// fixed order. Trainable parameters come with running statistics; Stats tells
// them apart.
type Weights struct {
	Names   []string
	Tensors map[string]*onnx.Tensor
	Stats   map[string]bool // running statistics of batch normalisation
}

// NewWeights returns an empty state.
func NewWeights() *Weights {
	return &Weights{Tensors: map[string]*onnx.Tensor{}, Stats: map[string]bool{}}
}

// Add appends a tensor.
func (w *Weights) Add(name string, t *onnx.Tensor, stat bool) {
	w.Names = append(w.Names, name)
	w.Tensors[name] = t
	if stat {
		w.Stats[name] = true
	}
}

// Clone returns a deep copy.
func (w *Weights) Clone() *Weights {
	c := NewWeights()
	for _, name := range w.Names {
		t := w.Tensors[name]
		d := onnx.NewTensor(t.DType, t.Shape...)
		d.Name = t.Name
		copyElements(d, t)
		c.Add(name, d, w.Stats[name])
	}
	return c
}

// Set copies from into w; both must describe one network. Element types may
// differ.
func (w *Weights) Set(from *Weights) error {
	for _, name := range w.Names {
		src := from.Tensors[name]
		if src == nil {
			return fmt.Errorf("unprune: the weights given have no %q", name)
		}
		if src.Len() != w.Tensors[name].Len() {
			return fmt.Errorf("unprune: the weights given have %q of shape %v, want %v", name, src.Shape, w.Tensors[name].Shape)
		}
		copyElements(w.Tensors[name], src)
	}
	return nil
}

// Check reports the first parameter that holds NaN or an infinity.
func (w *Weights) Check() error {
	for _, name := range w.Names {
		t := w.Tensors[name]
		for i := range t.Len() {
			if x := at(t, i); math.IsNaN(x) || math.IsInf(x, 0) {
				return &DivergedError{Param: name, Value: x}
			}
		}
	}
	return nil
}

// A DivergedError says that training blew up.
type DivergedError struct {
	Param string
	Value float64
	Norm  float64 // if not 0: of all weights, which exploded
}

func (e *DivergedError) Error() string {
	if e.Norm != 0 {
		return fmt.Sprintf("unprune: training diverged: the weights' norm grew to %.3g; lower the learning rate, or what stands for it", e.Norm)
	}
	return fmt.Sprintf("unprune: training diverged: parameter %q holds %v; lower the learning rate", e.Param, e.Value)
}

// at is element i as a float64, set its counterpart. Tensors of weights are
// float32 or float64.
func at(t *onnx.Tensor, i int) float64 {
	if s, ok := t.Data.([]float32); ok {
		return float64(s[i])
	}
	return t.Data.([]float64)[i]
}

func set(t *onnx.Tensor, i int, x float64) {
	if s, ok := t.Data.([]float32); ok {
		s[i] = float32(x)
		return
	}
	t.Data.([]float64)[i] = x
}

func copyElements(dst, src *onnx.Tensor) {
	switch d := dst.Data.(type) {
	case []float32:
		if s, ok := src.Data.([]float32); ok {
			copy(d, s)
			return
		}
	case []float64:
		if s, ok := src.Data.([]float64); ok {
			copy(d, s)
			return
		}
	}
	for i := range dst.Len() {
		set(dst, i, at(src, i))
	}
}
