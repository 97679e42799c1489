package evalmetrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got error %v, want one with %q", err, part)
	}
}

func randomMask(rng *rand.Rand, density float64, shape ...int) *sparsity.Mask {
	m := sparsity.NewMask(shape...)
	for i := range m.Len() {
		m.Set(i, rng.Float64() < density)
	}
	return m
}

func masks(m ...*sparsity.Mask) *sparsity.Masks {
	ms := &sparsity.Masks{}
	for i, m := range m {
		ms.Set(string(rune('a'+i)), m)
	}
	return ms
}

func TestArgmax(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		want   int
	}{
		{[]float64{1, 3, 2}, 1},
		{[]float64{2, 2, 1}, 0},
		{[]float64{-1, math.Inf(-1)}, 0},
		{[]float64{nan, 1}, -1},
		{[]float64{1, nan}, -1},
		{nil, -1},
	} {
		if got := Argmax(c.values); got != c.want {
			t.Errorf("%v: %d, want %d", c.values, got, c.want)
		}
	}
}

func TestAccuracy(t *testing.T) {
	outputs := []float32{1, 0, 0, 1, 5, 5, float32(math.NaN()), 0}
	got, err := Accuracy(outputs, []int64{0, 0, 0, 0})
	if err != nil || got != 50 {
		t.Errorf("got %v (%v), want 50", got, err)
	}
	_, err = Accuracy(outputs, nil)
	wantError(t, err, "no samples")
	_, err = Accuracy(outputs, []int64{1, 2, 3})
	wantError(t, err, "do not divide")
	if a := NewAccuracies(30, 90, 80); a.UAError != 70 || a.Forget != 30 || a.Retain != 90 || a.Test != 80 {
		t.Errorf("got %+v", a)
	}
}

func TestOverlapProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n := rng.IntN(60)
		a, b := randomMask(rng, rng.Float64(), n), randomMask(rng, rng.Float64(), n)
		o, same, swapped := NewOverlap(a, b), NewOverlap(a, a), NewOverlap(b, a)
		if same.IoU() != 1 || same.IoM() != 1 {
			t.Fatalf("a mask agrees with itself to %v, %v", same.IoU(), same.IoM())
		}
		if o.IoU() != swapped.IoU() || o.IoM() != swapped.IoM() {
			t.Fatal("not symmetric")
		}
		if !(0 <= o.IoU() && o.IoU() <= o.IoM() && o.IoM() <= 1) && !(o.A == 0 || o.B == 0) {
			t.Fatalf("IoU %v, IoM %v of %+v", o.IoU(), o.IoM(), o)
		}
		full := sparsity.FullMask(n)
		if p := o.Pruned(); p != NewOverlap(full.AndNot(a), full.AndNot(b)) && !near(p.expected, NewOverlap(full.AndNot(a), full.AndNot(b)).expected) {
			t.Fatalf("pruned sets: %+v", p)
		}
		if o.A == o.B && o.A > 0 && !near(o.IoU(), o.IoM()/(2-o.IoM())) {
			t.Fatal("IoU differs from IoM/(2-IoM) at equal sizes")
		}
	}
}

func TestChanceLevel(t *testing.T) {
	o := Overlap{A: 10, B: 10, N: 100, expected: 1}
	if !near(o.ChanceIoU(), .1/1.9) || !near(o.ChanceIoM(), .1) {
		t.Errorf("chance IoU %v, IoM %v", o.ChanceIoU(), o.ChanceIoM())
	}
	// Measured on random masks of two layers of different density.
	rng := rand.New(rand.NewPCG(2, 2))
	var sum, chance float64
	const runs = 200
	for range runs {
		o := NewOverlap(randomMask(rng, .1, 2000), randomMask(rng, .1, 2000)).
			Add(NewOverlap(randomMask(rng, .6, 500), randomMask(rng, .6, 500)))
		sum += o.IoU()
		chance += o.ChanceIoU()
	}
	if math.Abs(sum-chance)/runs > .003 {
		t.Errorf("random masks have IoU %v, chance level %v", sum/runs, chance/runs)
	}
}

func TestNormalizedAndRecovered(t *testing.T) {
	o := Overlap{Intersection: 10, A: 20, B: 20, N: 100, expected: 4}
	if got, want := o.Normalized(.5), (1.0/3-1.0/9)/(.5-1.0/9); !near(got, want) {
		t.Errorf("normalized %v, want %v", got, want)
	}
	if got := Recovered(.4, .3, .5); !near(got, .5) {
		t.Errorf("recovered %v", got)
	}
	if got := Recovered(.4, .5, .5); !math.IsNaN(got) {
		t.Errorf("recovered %v where nothing could be", got)
	}
}

func TestOverlapsErrors(t *testing.T) {
	a := masks(sparsity.NewMask(3), sparsity.NewMask(2))
	_, err := Overlaps(a, masks(sparsity.NewMask(3)))
	wantError(t, err, "2 and of 1 layers")
	_, err = Overlaps(a, masks(sparsity.NewMask(3), sparsity.NewMask(4)))
	wantError(t, err, `masks of "b" have shapes [2] and [4]`)
	other := masks(sparsity.NewMask(3))
	other.Set("z", sparsity.NewMask(2))
	_, err = Overlaps(a, other)
	wantError(t, err, `no mask for "b"`)
	_, err = UnitOverlaps([]sparsity.Layer{{Name: "z", Weight: onnx.NewTensor(onnx.Float32, 1, 3)}}, sparsity.Filter, a, a)
	wantError(t, err, `no mask of shape [1 3] for "z"`)
}

func TestUnitOverlaps(t *testing.T) {
	layers := []sparsity.Layer{{Name: "a", Weight: onnx.NewTensor(onnx.Float32, 3, 2), OutAxis: 0, InAxis: 1}}
	a, b := sparsity.NewMask(3, 2), sparsity.NewMask(3, 2)
	a.Set(0, true)
	a.Set(2, true)
	b.Set(1, true)
	filters, err := UnitOverlaps(layers, sparsity.Filter, masks(a), masks(b))
	if err != nil {
		t.Fatal(err)
	}
	if o := filters[0]; o.Intersection != 1 || o.A != 2 || o.B != 1 || o.N != 3 || o.IoU() != .5 || o.IoM() != 1 {
		t.Errorf("filters: %+v", o)
	}
	channels, err := UnitOverlaps(layers, sparsity.Channel, masks(a), masks(b))
	if err != nil || channels[0].Intersection != 0 || channels[0].N != 2 {
		t.Errorf("channels: %+v (%v)", channels, err)
	}
}

func TestSwap(t *testing.T) {
	mask := func(kept ...int) *sparsity.Mask {
		m := sparsity.NewMask(8)
		for _, i := range kept {
			m.Set(i, true)
		}
		return m
	}
	before, after, gold := masks(mask(0, 1, 2, 3)), masks(mask(0, 1, 4, 5)), masks(mask(0, 4, 5, 3))
	s, err := NewSwap(before, after, gold)
	if err != nil || s.Added != 2 || s.Dropped != 2 || s.AddedInGold != 1 || s.DroppedInGold != .5 {
		t.Errorf("got %+v (%v)", s, err)
	}
	if s, _ := NewSwap(before, before, gold); s.Added != 0 || !math.IsNaN(s.AddedInGold) {
		t.Errorf("no swap: %+v", s)
	}
	_, err = NewSwap(before, after, masks(sparsity.NewMask(9)))
	wantError(t, err, "three masks")
}

func TestDivergences(t *testing.T) {
	p := []float64{.5, .5, 0, 1}
	q := []float64{.25, .75, .5, .5}
	kl, err := KL(p, q, 2)
	want := (.5*math.Log(2) + .5*math.Log(.5/.75) + math.Log(2)) / 2
	if err != nil || math.Abs(kl-want) > 1e-9 {
		t.Errorf("KL %v (%v), want %v", kl, err, want)
	}
	if kl, _ := KL(p, p, 2); kl != 0 {
		t.Errorf("KL to itself %v", kl)
	}
	if kl, _ := KL([]float64{1, 0}, []float64{0, 1}, 2); math.Abs(kl+math.Log(1e-20)) > 1e-9 {
		t.Errorf("KL of disjoint outputs %v, want -ln 1e-20", kl)
	}
	if js, _ := JS([]float64{1, 0}, []float64{0, 1}, 2); math.Abs(js-math.Ln2) > 1e-9 {
		t.Errorf("JS of disjoint outputs %v, want ln 2", js)
	}
	each, err := KLSamples(p, q, 2)
	if err != nil || len(each) != 2 || math.Abs(each[0]+each[1]-2*want) > 1e-12 || math.Abs(each[1]-math.Ln2) > 1e-12 {
		t.Errorf("divergences of the samples %v (%v)", each, err)
	}
	for _, bad := range [][2][]float64{{nil, nil}, {p, p[:2]}, {p[:3], p[:3]}} {
		_, err := KL(bad[0], bad[1], 2)
		wantError(t, err, "equally many samples")
		_, err = KLSamples(bad[0], bad[1], 2)
		wantError(t, err, "equally many samples")
	}
}

func TestDivergenceProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		z := make([]float32, 2*35)
		for i := range z {
			z[i] = float32(8 * rng.NormFloat64())
		}
		p, q := Softmax(z[:35], 7), Softmax(z[35:], 7)
		kl, _ := KL(p, q, 7)
		js, _ := JS(p, q, 7)
		back, _ := JS(q, p, 7)
		if kl < 0 || js < 0 || js > math.Ln2 || !near(js, back) || js > kl {
			t.Fatalf("KL %v, JS %v, reversed %v", kl, js, back)
		}
	}
}

func TestSoftmax(t *testing.T) {
	got := Softmax([]float32{1000, 1000, -1000, 0}, 2)
	if !slices.Equal(got, []float64{.5, .5, 0, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestDistance(t *testing.T) {
	a, b := []float32{0, 3, 1}, []float32{0, 0, 5}
	all, err := NewDistance(a, b, nil)
	if err != nil || all.L2() != 5 {
		t.Errorf("got %v (%v)", all.L2(), err)
	}
	on := sparsity.NewMask(3)
	on.Set(1, true)
	part, err := NewDistance(a, b, on)
	if err != nil || part.L2() != 3 {
		t.Errorf("got %v (%v)", part.L2(), err)
	}
	if both := all.Add(Distance{squares: 144}); both.L2() != 13 {
		t.Errorf("got %v", both.L2())
	}
	_, err = NewDistance(a, b[:2], nil)
	wantError(t, err, "models differ")
	_, err = NewDistance(a, b, sparsity.NewMask(4))
	wantError(t, err, "models differ")
}

func TestCost(t *testing.T) {
	epoch := Cost{Forward: 100, Backward: 100, Seconds: 2}
	if got := epoch.Passes(100); got != 1 {
		t.Errorf("an epoch is %v passes", got)
	}
	if got := epoch.Add(epoch).Add(Cost{Forward: 300}); got.Passes(100) != 3 || got.Seconds != 4 {
		t.Errorf("got %+v, %v passes", got, got.Passes(100))
	}
	if got := (Cost{HVP: 100}).Relative(epoch); got != 2 {
		t.Errorf("Hessian-vector products cost %v gradients", got)
	}
	if got := epoch.Passes(0); got != 0 {
		t.Errorf("%v passes over nothing", got)
	}
}

func TestSummarize(t *testing.T) {
	if got := Summarize([]float64{1, 2, 3, 4}); got.Mean != 2.5 || !near(got.SD, math.Sqrt(5.0/3)) || got.N != 4 {
		t.Errorf("got %+v", got)
	}
	if got := Summarize([]float64{7}); got != (Summary{N: 1, Mean: 7}) {
		t.Errorf("got %+v", got)
	}
	if got := Summarize(nil); !math.IsNaN(got.Mean) || got.N != 0 {
		t.Errorf("got %+v", got)
	}
}

// With the measured distance the bounds are never violated.
func TestBoundHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		n := 2 + rng.IntN(80)
		k := rng.IntN(n + 1)
		noise := math.Exp(-5 * rng.Float64())
		u, phi := make([]float64, n), make([]float64, n)
		var e2, eps float64
		for i := range u {
			u[i] = math.Abs(rng.NormFloat64())
			phi[i] = math.Abs(u[i] + noise*rng.NormFloat64())
			d := u[i] - phi[i]
			e2 += d * d
			eps = max(eps, math.Abs(d))
		}
		e := math.Sqrt(e2) * (1 + 1e-12)
		flips := sparsity.TopK(u, k).AndNot(sparsity.TopK(phi, k)).Count()
		m := NewMargins(u, k)
		sup, l2, pooled := m.SupFlips(eps*(1+1e-12)), m.L2Flips(e), PooledFlips([]Margins{m}, e)
		if flips > sup || flips > l2 || l2 > pooled {
			t.Fatalf("n=%d k=%d: %d flips; bounds %d (sup), %d (Euclidean), %d (pooled)", n, k, flips, sup, l2, pooled)
		}
		o := NewOverlap(sparsity.TopK(u, k), sparsity.TopK(phi, k))
		if o.IoU() < LeastIoU(k, l2)-1e-12 {
			t.Fatalf("IoU %v below its bound %v", o.IoU(), LeastIoU(k, l2))
		}
	}
}

// The adversary of the proof attains the Euclidean bound: moving q pairs to
// one threshold costs Φ(q).
func TestBoundIsAttained(t *testing.T) {
	m := NewMargins([]float64{5, 4, 3, 2, 1, 0}, 3)
	// Pairs (3,2), (4,1), (5,0) have margins .5, 1.5, 2.5 on each side of 2.5,
	// so δ = 0.
	for q, want := range []float64{0, .5, 5, 17.5} {
		if got := m.SquaredDistance(q); !near(got, want) {
			t.Errorf("Φ(%d) = %v, want %v", q, got, want)
		}
	}
	if m.L2Flips(math.Sqrt(5)+1e-9) != 2 || m.L2Flips(math.Sqrt(5)-1e-9) != 1 {
		t.Error("the bound does not switch at Φ(2)")
	}
	if none := NewMargins([]float64{1, 2}, 2); none.L2Flips(100) != 0 || none.SupFlips(100) != 0 {
		t.Error("flips where everything is kept")
	}
}

// TestShareInterval compares with the worked values of Newcombe, Statistics in
// Medicine 17 (1998), table I, method 3.
func TestShareInterval(t *testing.T) {
	for _, c := range []struct {
		hits, n   int
		low, high float64
	}{{81, 263, .2553, .3662}, {15, 148, .0624, .1605}, {0, 20, 0, .1611}, {1, 29, .0061, .1718}} {
		if i := ShareInterval(c.hits, c.n); math.Abs(i.Low-c.low) > 5e-5 || math.Abs(i.High-c.high) > 5e-5 {
			t.Errorf("%d of %d: [%.4f, %.4f], want [%.4f, %.4f]", c.hits, c.n, i.Low, i.High, c.low, c.high)
		}
	}
	if i := ShareInterval(0, 0); i != (Interval{0, 1}) {
		t.Errorf("of no samples: %v", i)
	}
}
