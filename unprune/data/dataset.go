package data

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Dataset is a set of labelled samples. Readers return datasets whose inputs
// are finite and whose labels are in range.
type Dataset struct {
	X       *onnx.Tensor // float32, [samples, ...]
	Y       []int64      // class of each sample, 0 <= Y < Classes
	Classes int
	Names   []string // of the samples, for formats that have names; else nil
}

// newDataset checks the parts that a reader found. The number of classes is one more than
// the largest label unless the format tells.
func newDataset(x *onnx.Tensor, y []int64, classes int) (*Dataset, error) {
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("data: inputs have shape %v: want [samples, ...]", x.Shape)
	}
	if x.Shape[0] != len(y) {
		return nil, fmt.Errorf("data: %d inputs but %d labels", x.Shape[0], len(y))
	}
	if x.Len() == 0 {
		return nil, fmt.Errorf("data: there are no samples (inputs have shape %v)", x.Shape)
	}
	size := x.Len() / len(y)
	for i, v := range onnx.Of[float32](x) {
		if v-v != 0 { // NaN or infinite
			return nil, fmt.Errorf("data: sample %d has the value %v (element %d): remove or repair it", i/size, v, i%size)
		}
	}
	if classes == 0 {
		classes = int(min(slices.Max(y), math.MaxInt32)) + 1
	}
	d := &Dataset{X: x, Y: y, Classes: classes}
	return d, d.SetClasses(classes)
}

// Len is the number of samples.
func (d *Dataset) Len() int { return len(d.Y) }

// SampleShape is the shape of one input.
func (d *Dataset) SampleShape() []int { return d.X.Shape[1:] }

// SetClasses says how many classes the model knows. It is an error when a
// label is not one of them.
func (d *Dataset) SetClasses(classes int) error {
	for i, y := range d.Y {
		if y < 0 || y >= int64(classes) {
			return fmt.Errorf("data: the label of sample %d is %d, outside the classes 0 to %d", i, y, classes-1)
		}
	}
	d.Classes = classes
	return nil
}

// Reshape returns the same samples with inputs of another shape and equal size, such as
// [1, 28, 28] for [28, 28] or [784]. Memory is shared.
func (d *Dataset) Reshape(sample ...int) (*Dataset, error) {
	have := onnx.Size(d.SampleShape())
	if want := onnx.Size(sample); have != want {
		return nil, fmt.Errorf("data: samples have shape %v (%d values), the model wants %v (%d)", d.SampleShape(), have, sample, want)
	}
	r := *d
	r.X = onnx.FromSlice(onnx.Of[float32](d.X), append([]int{d.Len()}, sample...)...)
	return &r, nil
}

// Subset returns copies of the samples with these indices, in this order.
func (d *Dataset) Subset(indices []int) *Dataset {
	s := &Dataset{
		X:       onnx.NewTensor(onnx.Float32, append([]int{len(indices)}, d.SampleShape()...)...),
		Y:       make([]int64, len(indices)),
		Classes: d.Classes,
	}
	Gather(d, indices, onnx.Of[float32](s.X), s.Y)
	if d.Names != nil {
		for _, i := range indices {
			s.Names = append(s.Names, d.Names[i])
		}
	}
	return s
}

// Split returns the samples to keep and the samples to forget, both in the
// order of d. forget holds rising indices, as Forget.Select returns them.
func (d *Dataset) Split(forget []int) (retain, forgotten *Dataset) {
	return d.Subset(Complement(d.Len(), forget)), d.Subset(forget)
}

// Complement returns the indices 0..n-1 that are not among the rising indices.
func Complement(n int, indices []int) []int {
	rest := make([]int, 0, n-len(indices))
	for i := range n {
		if len(indices) > 0 && indices[0] == i {
			indices = indices[1:]
			continue
		}
		rest = append(rest, i)
	}
	return rest
}

// Gather copies the samples with these indices to x, which holds
// len(indices) inputs, and their labels to y. It does not allocate.
func Gather[T float32 | float64](d *Dataset, indices []int, x []T, y []int64) {
	all := d.X.Data.([]float32)
	size := len(all) / len(d.Y)
	alike, _ := any(x).([]float32)
	for k, i := range indices {
		y[k] = d.Y[i]
		if alike != nil {
			copy(alike[k*size:(k+1)*size], all[i*size:(i+1)*size])
			continue
		}
		dst := x[k*size : (k+1)*size]
		for j, v := range all[i*size : (i+1)*size] {
			dst[j] = T(v)
		}
	}
}
