package evalmetrics

import (
	"fmt"
	"math"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// TestSVC compares decision values with scikit-learn's on the random problems
// of testdata/make_svc.py. Both stop at a tolerance of 1e-3, where solvers that
// come another way differ by up to 0.07; this one comes the same way.
func TestSVC(t *testing.T) {
	arrays, err := npz.ReadFile("testdata/svc.npz")
	if err != nil {
		t.Fatal(err)
	}
	points := func(i int, name string) Points {
		a := arrays[fmt.Sprintf("%d/%s", i, name)]
		return Points{onnx.Of[float64](a), a.Shape[1]}
	}
	worst := 0.0
	for i := range 20 {
		settings := onnx.Of[float64](arrays[fmt.Sprintf("%d/c_gamma", i)])
		m, err := SVC{C: settings[0], Gamma: settings[1]}.Fit(points(i, "members"), points(i, "others"))
		if err != nil {
			t.Fatal(err)
		}
		want := onnx.Of[float64](arrays[fmt.Sprintf("%d/decision", i)])
		for j, d := range m.Decide(points(i, "query")) {
			off := math.Abs(d - want[j])
			worst = max(worst, off)
			if !(off <= 1e-6) {
				t.Errorf("problem %d: decision %d is %v, scikit-learn's is %v", i, j, d, want[j])
				break
			}
		}
	}
	t.Logf("largest difference %.2g", worst)
}

// TestSVCOptimality checks the conditions of the dual optimum on a problem of
// its own: every point on the right side of its margin as its coefficient
// says.
func TestSVCOptimality(t *testing.T) {
	members := Points{[]float64{0, .1, .2, .3, .9, 1.1}, 1}
	others := Points{[]float64{.25, .8, 1, 1.2, 1.3}, 1}
	svc := SVC{C: 2, Gamma: 3, Tolerance: 1e-8}
	m, err := svc.Fit(members, others)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for j, c := range m.Coef {
		sum += c
		y := math.Copysign(1, c)
		margin := y * m.Decide(Points{m.Support.At(j), 1})[0]
		if math.Abs(c) < svc.C && math.Abs(margin-1) > 1e-6 || math.Abs(c) == svc.C && margin > 1+1e-6 {
			t.Errorf("support vector %v with coefficient %v has margin %v", m.Support.At(j), c, margin)
		}
	}
	if math.Abs(sum) > 1e-9 {
		t.Errorf("coefficients sum to %v", sum)
	}
}

func TestSVCErrors(t *testing.T) {
	one, two, nan := Points{[]float64{1}, 1}, Points{[]float64{1, 2}, 2}, Points{[]float64{math.NaN()}, 1}
	for _, c := range []struct {
		name            string
		members, others Points
	}{
		{"no member", Points{nil, 1}, one}, {"widths differ", one, two}, {"nan", nan, one},
	} {
		if _, err := (SVC{}).Fit(c.members, c.others); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

// TestRowCache fits with room for two rows only.
func TestRowCache(t *testing.T) {
	c := newRowCache(3, func(i int, row []float32) { row[0] = float32(i) })
	c.limit = 2
	for _, i := range []int{0, 1, 0, 2, 0, 1, 2} {
		if got := c.get(i)[0]; got != float32(i) {
			t.Errorf("row %d holds %v", i, got)
		}
	}
	if len(c.rows) != 2 {
		t.Errorf("%d rows kept", len(c.rows))
	}
}
