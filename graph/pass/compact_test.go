package pass_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

const groups = "../../models/testdata/groups"

func load(t *testing.T, file string) *pass.Model {
	t.Helper()
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// run computes the outputs for a batch of noise.
func run(t *testing.T, im *pass.Model, batch int) []float32 {
	t.Helper()
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	p, err := exec.Compile(g, exec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := onnx.Of[float32](p.Input(g.Inputs[0].Name))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(onnx.Of[float32](p.Output(g.Outputs[0].Name)))
}

// same compares outputs to 1e-5 of the largest.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d outputs, want %d", what, len(got), len(want))
	}
	largest, worst := 0.0, 0.0
	for i := range want {
		largest = math.Max(largest, math.Abs(float64(want[i])))
		worst = math.Max(worst, math.Abs(float64(got[i]-want[i])))
	}
	if largest == 0 {
		t.Fatalf("%s: all outputs are zero: nothing is compared", what)
	}
	if !(worst <= 1e-5*largest) {
		t.Errorf("%s: outputs differ by %g of the largest", what, worst/largest)
	}
}

func size(im *pass.Model) (n int) {
	for _, v := range im.Graph.Inits {
		if v.DType.IsFloat() {
			n += v.Const.Len()
		}
	}
	return n
}

// empty zeroes every second filter of each weight; with all also its bias and
// normalisation. Filters that something is added to become empty on both sides.
func empty(im *pass.Model, all bool) {
	for _, p := range im.Params {
		axis := 0
		switch {
		case p.Role == pass.Weight:
			axis = p.OutAxis
		case !all || p.Role != pass.Bias && p.Role != pass.Scale && p.Role != pass.Shift && p.Role != pass.Mean:
			continue
		}
		if v := p.Value; p.Node.Output(0) == im.Logits || len(v.Shape) <= axis {
			continue
		}
		t := p.Tensor()
		inner := onnx.Size(t.Shape[axis+1:])
		for i, d := 0, onnx.Of[float32](t); i < len(d); i++ {
			if i/inner%t.Shape[axis]%2 == 1 {
				d[i] = 0
			}
		}
	}
}

// TestCompact empties half of the filters of every family and compares outputs
// before and after, for other batches than the model was analysed with.
func TestCompact(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(groups, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in %s (%v)", groups, err)
	}
	for _, file := range files {
		for _, all := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/normalisation too %v", filepath.Base(file), all), func(t *testing.T) {
				im := load(t, file)
				empty(im, all)
				want, before := run(t, im, 3), size(im)
				wide := load(t, file)
				c, err := pass.Compact(im)
				if err != nil {
					t.Fatal(err)
				}
				same(t, "compacted", run(t, im, 3), want)
				if after := size(im); after >= before {
					t.Errorf("%d parameters before, %d after", before, after)
				}
				again, err := pass.Import(im.Graph.ToONNX())
				if err != nil {
					t.Fatalf("the compacted model cannot be read: %v", err)
				}
				if all {
					if err := c.Expand(again, wide); err != nil {
						t.Fatal(err)
					}
					same(t, "expanded", run(t, wide, 3), want)
				}
			})
		}
	}
}

// chain is a small convolutional network built by hand.
func chain(t *testing.T, dead float32, padding int64) *pass.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	g := graph.New("chain", 17)
	tensor := func(name string, shape ...int) *graph.Value {
		w := make([]float32, onnx.Size(shape))
		for i := range w {
			w[i] = float32(rng.NormFloat64())
		}
		return g.AddInit(name, onnx.FromSlice(w, shape...))
	}
	b := ops.NewBuilder(g)
	x := g.AddInput("x", onnx.Float32, 1, 2, 6, 6)
	w1, b1, w2 := tensor("w1", 6, 2, 3, 3), tensor("b1", 6), tensor("w2", 4, 6, 3, 3)
	for f := range 6 {
		if f%2 == 0 {
			continue
		}
		onnx.Of[float32](b1.Const)[f] = dead * float32(f)
		for i := range 18 {
			onnx.Of[float32](w1.Const)[f*18+i] = 0
		}
	}
	pads := onnx.AttrInts("pads", padding, padding, padding, padding)
	h := b.Op("Sigmoid", b.Node("Conv", 1, []*graph.Value{x, w1, b1}, pads)[0])
	y := b.Op("GlobalAveragePool", b.Node("Conv", 1, []*graph.Value{h, w2}, pads)[0])
	y = b.Op("Flatten", y)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	if err := g.Rename(y, "y"); err != nil {
		t.Fatal(err)
	}
	g.AddOutput(y)
	x.Shape[0], y.Shape[0] = -1, -1
	im, err := pass.Import(g.ToONNX())
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// TestCompactMergesConstants: a filter of zeros whose channel holds a constant
// cannot just go; one such channel stays for all of them.
func TestCompactMergesConstants(t *testing.T) {
	for _, padding := range []int64{0, 1} {
		im := chain(t, 0.7, padding)
		want := run(t, im, 2)
		if _, err := pass.Compact(im); err != nil {
			t.Fatal(err)
		}
		same(t, "compacted", run(t, im, 2), want)
		if w := im.Graph.Value("w2"); !slices.Equal(w.Shape, []int{4, 4, 3, 3}) {
			t.Errorf("padding %d: the second convolution reads %v; want three live channels and one constant", padding, []int(w.Shape))
		}
	}
}

// TestCompactUnread takes out channels that nobody reads, though they are
// alive, and leaves a model without dead channels alone.
func TestCompactUnread(t *testing.T) {
	im := chain(t, 0, 1)
	w2 := onnx.Of[float32](im.Graph.Value("w2").Const)
	for i := range w2 {
		if i/9%6 == 2 {
			w2[i] = 0
		}
	}
	want := run(t, im, 2)
	c, err := pass.Compact(im)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "compacted", run(t, im, 2), want)
	if kept := c.Kept["w1"][0]; !slices.Equal(kept, []int{0, 1, 4}) {
		t.Errorf("filters %v stay; want the live ones that are read and one that is sigmoid(0)", kept)
	}
	if c, err = pass.Compact(im); err != nil || len(c.Kept) != 0 {
		t.Errorf("a second compaction took %v (%v)", c, err)
	}
}
