package bound_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/bound"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

const golden = "../testdata/golden/"

// network returns an engine in float64 on a small multi-layer perceptron and
// 88 samples.
func network(t *testing.T) (*train.Engine, *data.Dataset) {
	t.Helper()
	m, err := onnx.Read(golden + "ft_mlp/before.onnx")
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.New(im, train.Options{Double: true, Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{State: state, Into: into})
	}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := npz.ReadFile(golden + "data.npz")
	if err != nil {
		t.Fatal(err)
	}
	d := &data.Dataset{Classes: 5}
	var x []float32
	for _, part := range []string{"retain", "forget"} {
		x = append(x, onnx.Of[float32](z["mlp_x_"+part])...)
		d.Y = append(d.Y, onnx.Of[int64](z["y_"+part])...)
	}
	d.X = onnx.FromSlice(x, len(d.Y), 12)
	return e, d
}

// coupled is a random problem: initial weights, samples to forget, rates.
func coupled(e *train.Engine, d *data.Dataset, seed uint64) bound.Coupled {
	rng := data.Stream(seed, "test", "problem")
	theta0 := e.Weights().Clone()
	v := theta0.Vector()
	for i := range v {
		v[i] = 0.4 * rng.NormFloat64()
	}
	theta0.SetVector(v)
	var forget []int
	for i := range d.Len() {
		if rng.Float64() < 0.2 {
			forget = append(forget, i)
		}
	}
	return bound.Coupled{
		Engine: e, Data: d, Forget: forget, Theta0: theta0, Batch: 8 + rng.IntN(81), Epochs: 6,
		Schedule: unprune.Cosine(0.05 + 0.3*rng.Float64()), WeightDecay: 0.01 * rng.Float64(),
		Order: unprune.Stream{Rand: data.Stream(seed, "test", "order")},
	}
}

func randomMasks(e *train.Engine, rng *rand.Rand) *sparsity.Masks {
	masks := &sparsity.Masks{}
	for _, l := range e.Layers() {
		m := sparsity.NewMask(l.Weight.Shape...)
		for i := range m.Len() {
			m.Set(i, rng.Float64() < 0.4)
		}
		masks.Set(l.Name, m)
	}
	return masks
}

// TestNeverViolated runs the whole chain on random problems, with and without
// momentum and masks: no measured figure may exceed its certified bound.
func TestNeverViolated(t *testing.T) {
	e, d := network(t)
	tight, total := 0.0, 0
	for seed := range uint64(24) {
		c := coupled(e, d, seed)
		rng := data.Stream(seed, "test", "masks")
		switch seed % 3 {
		case 1:
			c.Momentum = 0.8
		case 2:
			c.Original, c.Gold = randomMasks(e, rng), randomMasks(e, rng)
		}
		trace, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		drifts := make([]float64, 0, len(trace.Steps)+1)
		for _, s := range trace.Steps {
			drifts = append(drifts, math.Hypot(s.Drift, s.Outside))
		}
		drifts = append(drifts, trace.Drift())
		for i, b := range trace.Certified() {
			if drifts[i] > b*(1+1e-9)+1e-12 {
				t.Fatalf("seed %d: step %d: drift %v exceeds its bound %v", seed, i, drifts[i], b)
			}
		}
		tight += trace.Drift() / trace.Certified()[len(trace.Steps)]
		total++
		u := append(unprune.Vector(nil), trace.Theta...)
		for i := range u {
			u[i] += 0.02 * rng.NormFloat64()
		}
		a, err := trace.Assess(e.Weights(), e.Layers(), u, func(layer string) int { return e.Weights().Tensors[layer].Len() / 3 })
		if err != nil {
			t.Fatal(err)
		}
		if a.Distance > a.Bounds[bound.CertifiedSecant]*(1+1e-9) {
			t.Errorf("seed %d: ‖u-φ‖ is %v, bound %v", seed, a.Distance, a.Bounds[bound.CertifiedSecant])
		}
		for kind, list := range a.Masks {
			for _, m := range list {
				if m.Flips > m.MostFlips || m.IoU < m.LeastIoU {
					t.Errorf("seed %d: %s, %s: %d flips (IoU %.3f), bound %d (%.3f)", seed, kind, m.Name, m.Flips, m.IoU, m.MostFlips, m.LeastIoU)
				}
			}
		}
	}
	t.Logf("drift is %.2f of its bound on average", tight/float64(total))
}

// TestEstimated: eigenvalues at θ stand in for secants, so that on a short
// smooth stretch the estimate covers the drift too.
func TestEstimated(t *testing.T) {
	e, d := network(t)
	c := coupled(e, d, 7)
	c.Every, c.Batch = 1, d.Len()
	trace, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	estimate, certified := trace.Estimated(), trace.Certified()
	n := len(trace.Steps)
	if estimate[n] < trace.Drift() || math.IsNaN(trace.Proxy()) || trace.Proxy() <= 0 {
		t.Errorf("drift %v, estimate %v, proxy %v", trace.Drift(), estimate[n], trace.Proxy())
	}
	t.Logf("drift %.4f, certified %.4f, estimated %.4f, proxy %.4f", trace.Drift(), certified[n], estimate[n], trace.Proxy())
	for _, s := range trace.Steps {
		if s.Lipschitz > 1.5*max(s.Highest, -s.Lowest) {
			t.Errorf("secant %v beyond the spectrum [%v, %v]", s.Lipschitz, s.Lowest, s.Highest)
		}
	}
	// Where only the original has weights, they pull at the gold's as well.
	pruned := c
	pruned.Original, pruned.Gold = randomMasks(e, data.Stream(7, "test", "masks")), randomMasks(e, data.Stream(8, "test", "masks"))
	if trace, err = pruned.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	estimate = trace.Estimated()
	for i, s := range trace.Steps {
		if drift := math.Hypot(s.Drift, s.Outside); estimate[i] < drift {
			t.Errorf("step %d with masks: drift %v, estimate %v", i, drift, estimate[i])
		}
	}
	c.Every = 0
	if trace, err = c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := trace.Estimated(); !math.IsNaN(e[len(e)-1]) {
		t.Errorf("an estimate %v without curvature", e[len(e)-1])
	}
}

func TestMomentumWithMasks(t *testing.T) {
	e, d := network(t)
	c := coupled(e, d, 1)
	c.Momentum, c.Gold = 0.9, randomMasks(e, data.Stream(1, "test", "masks"))
	if _, err := c.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

// TestLanczos compares with a dense eigensolver.
func TestLanczos(t *testing.T) {
	rng := data.Stream(1, "test", "lanczos")
	for _, n := range []int{1, 2, 7, 30} {
		a := mat.NewSymDense(n, nil)
		for i := range n {
			for j := i; j < n; j++ {
				a.SetSym(i, j, rng.NormFloat64())
			}
		}
		var e mat.EigenSym
		e.Factorize(a, false)
		want := e.Values(nil)
		got, err := bound.Lanczos(n, n, rng, product(a))
		if err != nil || math.Abs(got.Highest-want[n-1]) > 1e-9 || math.Abs(got.Lowest-want[0]) > 1e-9 {
			t.Errorf("n = %d: %+v (%v), want %v and %v", n, got, err, want[n-1], want[0])
		}
		part, err := bound.Lanczos(n, 3, rng, product(a))
		if err != nil || part.Highest > want[n-1]+1e-9 || part.Lowest < want[0]-1e-9 {
			t.Errorf("n = %d, 3 iterations: %+v lies outside %v", n, part, want)
		}
	}
	failing := func(unprune.Vector) (unprune.Vector, error) { return nil, fmt.Errorf("stopped") }
	if _, err := bound.Lanczos(3, 3, rng, failing); err == nil {
		t.Error("no error")
	}
}

func product(a *mat.SymDense) func(unprune.Vector) (unprune.Vector, error) {
	return func(v unprune.Vector) (unprune.Vector, error) {
		w := mat.NewVecDense(len(v), nil)
		w.MulVec(a, mat.NewVecDense(len(v), v))
		return w.RawVector().Data, nil
	}
}

// TestMasks draws two score vectors at a distance that is known exactly.
func TestMasks(t *testing.T) {
	rng := data.Stream(2, "test", "scores")
	vacuous, useful := 0, 0
	for range 300 {
		var groups []bound.Group
		squares := 0.0
		noise := math.Pow(10, -3*rng.Float64())
		for g := range 3 {
			n := 5 + rng.IntN(60)
			group := bound.Group{Name: fmt.Sprint(g), Keep: rng.IntN(n + 1)}
			for range n {
				u := rng.NormFloat64()
				phi := u + noise*rng.NormFloat64()
				group.U, group.Phi = append(group.U, math.Abs(u)), append(group.Phi, math.Abs(phi))
				squares += math.Pow(math.Abs(u)-math.Abs(phi), 2)
			}
			groups = append(groups, group)
		}
		for _, distance := range []float64{math.NaN(), math.Sqrt(squares) * (1 + 1e-12)} {
			list, err := bound.Masks(groups, distance)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				if a.Flips > a.MostFlips || a.IoU < a.LeastIoU {
					t.Fatalf("violated: %+v", a)
				}
			}
			if list[3].Vacuous {
				vacuous++
			} else {
				useful++
			}
		}
	}
	if vacuous == 0 || useful == 0 {
		t.Errorf("%d vacuous, %d useful bounds: want both", vacuous, useful)
	}
	unknown, err := bound.Masks([]bound.Group{{Name: "g", U: []float64{3, 2, 1}, Keep: 1}}, 0.1)
	if err != nil || unknown[0].Flips != -1 || unknown[0].MostFlips != 0 {
		t.Errorf("%+v, %v", unknown, err)
	}
	for name, bad := range map[string]bound.Group{
		"keeps too many": {U: []float64{1}, Keep: 2}, "lengths": {U: []float64{1}, Phi: []float64{1, 2}}, "no gold": {U: []float64{1}},
	} {
		if _, err := bound.Masks([]bound.Group{bad}, math.NaN()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDescent(t *testing.T) {
	// On ½x² with rate ½ both halve their distance to 0 each step.
	u, phi, start := 8.0, 4.0, 4.0
	kappa, rate, gradient := []float64{.5, .5}, []float64{.5, .5}, []float64{4, 2}
	if got, want := bound.Descent(start, kappa, rate, gradient), 4.0; got != want || math.Abs(u/4-phi) > got {
		t.Errorf("bound %v, want %v", got, want)
	}
}
