package unlearn

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// FisherNew replaces parameters by draws around their value, wide where the
// retained data leave them free (Golatkar et al. 2020, fisher.py fisher_new);
// eval mode. With batches b of D_r, g_bc the gradient of the batch-mean loss with
// every label c and w_bc the mean over the batch of softmax(z)_c:
//
//	A = (1/#batches) Σ_b Σ_c w_bc·g_bc²
//	v = Alpha·min(1/(A+1e-8), Cap)        last layer: CapLast
//	v ← mean of v over the input axis, for tensors with more than one axis
//	rows of a forgotten class in last-layer tensors: value 0, v = 1e-4
//	last layer and one-dimensional tensors: v ← 10·v
//	θ ← θ + sqrt(v)·z,  z ~ N(0, 1)
//
// The last layer is every tensor with one output per class. Defaults: alpha
// 1e-6 (to be tuned), caps 1e3 and 1e2, batches of 32; the class rule applies to
// classes of which nothing is retained. The square of the gradient of a mean is
// not the mean of squares: batches of 1 are right, and dear.
type FisherNew struct {
	Alpha   float64 // 0: 1e-6
	Cap     float64 // 0: 1e3
	CapLast float64 // 0: 1e2
	Batch   int     // 0: 32
	Classes []int   // that the class rule wipes; nil: those of which nothing is retained
	Noise   Noise   // nil: drawn from the stream "noise"

	// Reference applies the class rule to index 0 of every tensor and knows a
	// last layer by ten classes only, as SparseModels does by a slip.
	Reference bool
}

// Name is "fisher-new".
func (FisherNew) Name() string { return "fisher-new" }

// Needs retained data, squared gradients per class and random numbers.
func (FisherNew) Needs() unprune.Needs {
	return unprune.NeedsRetain | unprune.NeedsCurvature | unprune.NeedsRandom
}

// Unlearn draws the new parameters.
func (u FisherNew) Unlearn(ctx context.Context, t *unprune.Task) error {
	for _, c := range u.Classes {
		if c < 0 || c >= t.Engine.Classes() {
			return fmt.Errorf("unlearn: fisher-new: there is no class %d; the model has classes 0 to %d", c, t.Engine.Classes()-1)
		}
	}
	draw, err := noise(t, u.Name(), u.Noise)
	if err != nil {
		return err
	}
	a, err := u.Information(ctx, t)
	if err != nil {
		return err
	}
	w := t.Engine.Weights()
	mean := w.Vector()
	u.variance(t, mean, a)
	for i, v := range a {
		a[i] = math.Sqrt(v)
	}
	disturb(w, mean, a, draw)
	return settle(t, u.Name(), mean)
}

// Information is A.
func (u FisherNew) Information(ctx context.Context, t *unprune.Task) (unprune.Vector, error) {
	e, err := curvature(t, u.Name())
	if err != nil {
		return nil, err
	}
	sum := make(unprune.Vector, e.Weights().Params())
	batches := unprune.Batches(t.Retain, or(u.Batch, 32))
	for i, index := range batches {
		a, err := e.ClassSquares(ctx, unprune.Term{Data: t.Data, Index: index})
		if err != nil {
			return nil, err
		}
		sum.Axpy(1, a)
		t.Report(u.Name(), i+1, len(batches))
	}
	sum.Scale(1 / float64(len(batches)))
	return sum, nil
}

// variance turns A into v, in place, and applies the class rule to the means.
func (u FisherNew) variance(t *unprune.Task, mean, a unprune.Vector) {
	alpha, most, mostLast := or(u.Alpha, 1e-6), or(u.Cap, 1e3), or(u.CapLast, 1e2)
	classes, lastSize := u.Classes, t.Engine.Classes()
	if classes == nil {
		classes = deletedClasses(t)
	}
	if u.Reference {
		classes, lastSize = []int{0}, 10
	}
	layers := map[string]sparsity.Layer{}
	for _, l := range t.Engine.Layers() {
		layers[l.Name] = l
	}
	for _, p := range t.Engine.Weights().Parts() {
		x := newAxes(p, layers)
		last := x.outputs() == lastSize
		bound := most
		if last {
			bound = mostLast
		}
		v := p.Of(a)
		for i := range v {
			v[i] = alpha * min(1/(v[i]+1e-8), bound)
		}
		x.average(v)
		if last || u.Reference {
			x.wipe(p.Of(mean), classes, 0)
			x.wipe(v, classes, 1e-4)
		}
		if last || len(p.Tensor.Shape) == 1 {
			v.Scale(10)
		}
	}
}

// deletedClasses are the classes of forgotten samples that no retained sample
// has.
func deletedClasses(t *unprune.Task) []int {
	forgotten, kept := make([]bool, t.Engine.Classes()), make([]bool, t.Engine.Classes())
	for _, row := range t.Forget {
		forgotten[t.Data.Y[row]] = true
	}
	for _, row := range t.Retain {
		kept[t.Data.Y[row]] = true
	}
	var out []int
	for c := range forgotten {
		if forgotten[c] && !kept[c] {
			out = append(out, c)
		}
	}
	return out
}

// axes are the axes of a parameter along which outputs and inputs run.
type axes struct {
	shape   []int
	out, in int
}

func newAxes(p unprune.Part, layers map[string]sparsity.Layer) axes {
	x := axes{shape: p.Tensor.Shape, out: 0, in: 1}
	if l, ok := layers[p.Name]; ok {
		x.out, x.in = l.OutAxis, l.InAxis
	}
	return x
}

// outputs is the extent of the output axis; a scalar has one.
func (x axes) outputs() int {
	if len(x.shape) == 0 {
		return 1
	}
	return x.shape[x.out]
}

// along splits the flat index i at an axis: its place on the axis, and the step
// of the axis.
func (x axes) along(i, axis int) (place, stride int) {
	stride = 1
	for _, d := range x.shape[axis+1:] {
		stride *= d
	}
	return i / stride % x.shape[axis], stride
}

// average replaces entries by their mean over the input axis.
func (x axes) average(v unprune.Vector) {
	if len(x.shape) < 2 {
		return
	}
	n := x.shape[x.in]
	for i := range v {
		place, stride := x.along(i, x.in)
		if place != 0 {
			continue
		}
		sum := 0.0
		for j := range n {
			sum += v[i+j*stride]
		}
		for j := range n {
			v[i+j*stride] = sum / float64(n)
		}
	}
}

// wipe sets the entries of some outputs.
func (x axes) wipe(v unprune.Vector, outputs []int, to float64) {
	if len(x.shape) == 0 {
		return
	}
	for i := range v {
		if place, _ := x.along(i, x.out); slices.Contains(outputs, place) {
			v[i] = to
		}
	}
}

// Info describes Fisher-new.
func (u *FisherNew) Info() Info {
	return Info{
		About:  "draw parameters anew around their value, wide where the retained data leave them free",
		Good:   "deleted classes (their output rows are wiped); alpha must be tuned per network and data",
		Cost:   "n_r forward passes and classes·n_r backward passes",
		Source: "Golatkar et al. 2020; Unlearn-Sparse and SparseModels fisher.py fisher_new",
		Options: []Option{
			number("alpha", &u.Alpha, 1e-6, "strength of the noise"),
			number("cap", &u.Cap, 1e3, "largest variance before alpha"),
			number("cap-last", &u.CapLast, 1e2, "the same in the last layer"),
			integer("batch", &u.Batch, 32, "samples per squared gradient"),
			integers("classes", &u.Classes, "classes whose output rows are wiped (default: those that are forgotten altogether)"),
			flag("reference", &u.Reference, "wipe index 0 of every tensor, as SparseModels does by a slip"),
		},
	}
}
