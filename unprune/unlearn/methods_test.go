package unlearn_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
	"github.com/unprune/unprune/unprune/unlearn"
)

// plain sets a task up on the small convolutional network of the reference
// cases, with random numbers and a list of the warnings.
func plain(t *testing.T) (*bench, *[]string) {
	t.Helper()
	b := setUp(t, filepath.Join("../testdata/golden", "ft_cnn"), false)
	var warnings []string
	b.task.Rand = func(purpose string) *rand.Rand { return data.Stream(1, "test", purpose) }
	b.task.Warning = func(s string) { warnings = append(warnings, s) }
	b.task.Initial = b.engine.Fresh(data.Stream(2, "test", "theta0"))
	return b, &warnings
}

// small are all methods with budgets that fit the small network.
func small() []unprune.Unlearner {
	var list []unprune.Unlearner
	for _, m := range unlearn.All() {
		switch u := m.(type) {
		case *unlearn.SFRon:
			u.Alpha, u.ForgetBatch = 0.5, 8
		case *unlearn.Certified:
			u.Steps, u.Batch = 10, 16
		case *unlearn.SSD:
			u.Alpha, u.Batch = 1, 16
		}
		list = append(list, m)
	}
	return list
}

func halved(t *testing.T, layers []sparsity.Layer) *sparsity.Masks {
	t.Helper()
	scores, err := sparsity.Magnitude{}.Score(sparsity.Input{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := sparsity.Magnitude{}.Prune(scores, nil, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	return masks
}

// TestMaskSettings runs every method with a fixed mask, which must stay, and
// free, where those that add to weights must bring some back, and in the loop
// with a grown mask.
func TestMaskSettings(t *testing.T) {
	for _, u := range small() {
		t.Run(u.Name(), func(t *testing.T) {
			b, _ := plain(t)
			masks := halved(t, b.engine.Layers())
			if err := b.engine.SetMasks(masks); err != nil {
				t.Fatal(err)
			}
			start := b.engine.Weights().Clone()
			b.task.Epochs, b.task.Rate, b.task.Batch = 2, 0.01, 16
			if err := unprune.Satisfies(u, b.task); err != nil {
				t.Fatal(err)
			}
			if err := b.run(t, u); err != nil {
				t.Fatal(err)
			}
			if alive := revived(masks, b.engine.Layers()); alive != 0 {
				t.Errorf("fixed mask: %d pruned weights came back", alive)
			}
			if slices.Equal(start.Vector(), b.engine.Weights().Vector()) {
				t.Error("fixed mask: nothing changed")
			}

			if err := errors.Join(b.engine.SetMasks(nil), b.engine.Weights().Set(start)); err != nil {
				t.Fatal(err)
			}
			if err := b.run(t, u); err != nil {
				t.Fatal(err)
			}
			if alive := revived(masks, b.engine.Layers()); alive == 0 && u.Name() != "ssd" {
				t.Error("free: no pruned weight came back")
			}

			if err := errors.Join(b.engine.Weights().Set(start), b.engine.SetMasks(masks)); err != nil {
				t.Fatal(err)
			}
			l := unprune.Loop{Unlearner: u, Pruner: sparsity.Magnitude{}, Rounds: 2}
			after, err := l.Run(t.Context(), b.task, masks)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := after.Density(), masks.Density(); got != want {
				t.Errorf("the loop leaves density %g, want %g", got, want)
			}
		})
	}
}

// revived counts weights that are not zero though a mask prunes them.
func revived(masks *sparsity.Masks, layers []sparsity.Layer) int {
	n := 0
	for _, l := range layers {
		m := masks.Get(l.Name)
		for i := range m.Len() {
			if !m.Get(i) && number(l.Weight, i) != 0 {
				n++
			}
		}
	}
	return n
}

// costs are the formulas that the methods declare, for f samples to forget, r to
// keep, classes, epochs, and batches of b and, of samples to forget, of fb.
func costs(f, r, classes, epochs, b, fb int64) []struct {
	u    unprune.Unlearner
	want evalmetrics.Cost
} {
	n, batches := f+r, (r+b-1)/b
	size := int(fb)
	same := func(samples int64) evalmetrics.Cost { return evalmetrics.Cost{Forward: samples, Backward: samples} }
	cycled := func(batches int64) int64 { // samples in so many batches to forget, taken in turn
		per := (f + fb - 1) / fb
		return batches/per*f + min(batches%per*fb, f)
	}
	climbs := (epochs*batches + 2) / 3
	return []struct {
		u    unprune.Unlearner
		want evalmetrics.Cost
	}{
		{unlearn.Retrain{}, same(epochs * r)},
		{unlearn.FineTune{}, same(epochs * r)},
		{unlearn.FineTune{Saliency: &unlearn.Saliency{}}, same(f + epochs*r)},
		{unlearn.GradientAscent{}, same(epochs * f)},
		{unlearn.GradientAscent{Eval: true, Clip: 0.1}, same(epochs * f)},
		{unlearn.GradientAscent{Steps: 1}, same(min(b, f))},
		{unlearn.NegGradPlus{ForgetBatch: size}, same(epochs * (r + cycled(batches)))},
		{unlearn.RandomLabel{}, same(epochs * n)},
		{unlearn.RandomLabel{Variant: "b"}, same(epochs * n)},
		{unlearn.RandomLabel{Variant: "c"}, same(epochs * n)},
		{unlearn.SalUn{}, same(f + epochs*n)},
		{unlearn.L1Sparse{}, same(epochs * r)},
		{unlearn.Fisher{}, same(r)},
		{unlearn.FisherNew{}, evalmetrics.Cost{Forward: r, Backward: classes * r}},
		{unlearn.Influence{Memory: 5}, same(n + 5)},
		{unlearn.Influence{Reference: true, N: 3}, same(n + 5)},
		{unlearn.Influence{Reference: true, Batch: size}, same(n + r)},
		{
			unlearn.Certified{Repeats: 2, Steps: 3, Batch: size, Scale: 1e6},
			evalmetrics.Cost{Forward: r, Backward: r, HVP: 2 * 3 * fb},
		},
		{
			unlearn.Certified{Repeats: 1, Steps: 1, Batch: size, Gamma: 1e3},
			evalmetrics.Cost{Forward: r, Backward: r, HVP: fb + 2*20*min(4*fb, r)},
		},
		{unlearn.SCRUB{MaxEpochs: 1}, evalmetrics.Cost{Forward: n + f + epochs*r, Backward: f + epochs*r}},
		{unlearn.SFRon{Every: 3, ForgetBatch: size}, same(n + epochs*r + cycled(climbs))},
		{unlearn.SSD{}, same(f + n)},
		{unlearn.SSD{RetainOnly: true}, same(n)},
		{unlearn.BadTeacher{}, evalmetrics.Cost{Forward: n + epochs*n, Backward: epochs * n}},
		{unlearn.BadTeacher{Share: 0.5}, evalmetrics.Cost{Forward: f + r/2 + epochs*(f+r/2), Backward: epochs * (f + r/2)}},
	}
}

// TestCost compares the counters with the formulas, on the convolutional network
// of the reference cases, LeNet-5 and a narrow ResNet-18. UNLEARN_COST_MODEL
// names another network, to be measured with few samples.
func TestCost(t *testing.T) {
	networks := []struct {
		name       string
		open       func(*testing.T) *onnx.Model
		f, r, b, m int64
	}{
		{"cnn", fileModel("../testdata/golden/ft_cnn/before.onnx"), 24, 64, 16, 8},
		{"lenet-5", func(t *testing.T) *onnx.Model { return decoded(t, models.LeNet5().Pruned) }, 11, 30, 8, 4},
		{"resnet-18-narrow", fileModel("../../models/testdata/groups/resnet18.onnx"), 3, 8, 4, 2},
	}
	if path := os.Getenv("UNLEARN_COST_MODEL"); path != "" {
		networks = append(networks[:0], networks[0])
		networks[0].name, networks[0].open = path, fileModel(path)
		networks[0].f, networks[0].r, networks[0].b, networks[0].m = 2, 6, 4, 2
	}
	for _, net := range networks {
		t.Run(net.name, func(t *testing.T) {
			e, shape := newEngine(t, net.open(t))
			start := e.Weights().Clone()
			classes := int64(e.Classes())
			d, retain, forget := randomSamples(shape, e.Classes(), net.r, net.f)
			tried := map[string]bool{}
			for _, test := range costs(net.f, net.r, classes, 2, net.b, net.m) {
				task := &unprune.Task{
					Engine: e, Data: d, Retain: retain, Forget: forget, Epochs: 2, Batch: int(net.b), Rate: 1e-4,
					Initial: start,
					Rand:    func(purpose string) *rand.Rand { return data.Stream(1, "test", purpose) },
				}
				before := e.Cost()
				if err := errors.Join(e.Weights().Set(start), test.u.Unlearn(t.Context(), task)); err != nil {
					t.Fatal(err)
				}
				got := e.Cost()
				got.Forward, got.Backward, got.HVP = got.Forward-before.Forward, got.Backward-before.Backward, got.HVP-before.HVP
				if got != test.want {
					t.Errorf("%s %+v: cost %+v, want %+v", test.u.Name(), test.u, got, test.want)
				}
				tried[test.u.Name()] = true
			}
			for _, u := range unlearn.All() {
				if !tried[u.Name()] {
					t.Errorf("%s: no formula", u.Name())
				}
			}
		})
	}
}

func fileModel(path string) func(*testing.T) *onnx.Model {
	return func(t *testing.T) *onnx.Model {
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func decoded(t *testing.T, file []byte) *onnx.Model {
	m, err := onnx.Decode(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newEngine(t *testing.T, m *onnx.Model) (e *train.Engine, sample []int) {
	t.Helper()
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err = train.New(im, train.Options{Compile: compile})
	if err != nil {
		t.Fatal(err)
	}
	return e, im.Graph.Inputs[0].Shape[1:]
}

// randomSamples are samples that a network takes, those to keep first.
func randomSamples(shape []int, classes int, keep, forget int64) (d *data.Dataset, retainRows, forgetRows []int) {
	n := int(keep + forget)
	d = &data.Dataset{X: onnx.NewTensor(onnx.Float32, append([]int{n}, shape...)...), Y: make([]int64, n), Classes: classes}
	r := data.Stream(1, "test", "samples")
	for i := range d.X.Len() {
		onnx.Of[float32](d.X)[i] = float32(r.NormFloat64())
	}
	for i := range d.Y {
		d.Y[i] = int64(i % classes)
	}
	all := rows(n)
	return d, all[:keep], all[keep:]
}

// TestDeterministic repeats every method: the same seed must give the same bits.
func TestDeterministic(t *testing.T) {
	for _, u := range small() {
		var first unprune.Vector
		for range 2 {
			b, _ := plain(t)
			b.task.Epochs, b.task.Batch, b.task.Rate = 2, 16, 0.01
			if err := b.run(t, u); err != nil {
				t.Fatal(err)
			}
			if v := b.engine.Weights().Vector(); first == nil {
				first = v
			} else if !slices.Equal(first, v) {
				t.Errorf("%s: two runs differ", u.Name())
			}
		}
	}
}

// TestCancel cancels every method; the error must be the context's.
func TestCancel(t *testing.T) {
	for _, u := range small() {
		b, _ := plain(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := u.Unlearn(ctx, b.task); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled, it returns %v", u.Name(), err)
		}
	}
}

// TestDivergence lets methods blow up; the weights must be those of the last
// good epoch.
func TestDivergence(t *testing.T) {
	for _, u := range []unprune.Unlearner{
		unlearn.GradientAscent{}, unlearn.FineTune{}, unlearn.L1Sparse{}, unlearn.SFRon{Iterations: 60},
	} {
		b, _ := plain(t)
		start := b.engine.Weights().Clone()
		b.task.Batch, b.task.Rate = 16, 1e9
		err := b.run(t, u)
		var diverged *unprune.DivergedError
		if !errors.As(err, &diverged) {
			t.Errorf("%s: a rate of 1e9 gives %v", u.Name(), err)
		}
		if !slices.Equal(start.Vector(), b.engine.Weights().Vector()) {
			t.Errorf("%s: the weights are not those of before", u.Name())
		}
	}
}

// TestExplosion lets weights grow without end but stay finite: the norm alone
// must stop a method, with the weights of the last good epoch, or those of before.
func TestExplosion(t *testing.T) {
	stopped := func(b *bench, u unprune.Unlearner, want unprune.Vector) {
		t.Helper()
		err := b.run(t, u)
		var diverged *unprune.DivergedError
		if !errors.As(err, &diverged) || !(diverged.Norm > 1e3*want.Norm()) || math.IsInf(diverged.Norm, 0) {
			t.Errorf("%s: it gives %v, want a norm that exploded and is finite", u.Name(), err)
		}
		if !slices.Equal(want, b.engine.Weights().Vector()) {
			t.Errorf("%s: the weights are not the last good ones", u.Name())
		}
	}
	for _, u := range []unprune.Unlearner{unlearn.FineTune{}, unlearn.GradientAscent{}, unlearn.NegGradPlus{}} {
		rates := func(epoch, _ int) float64 { return []float64{1e-3, 1e8}[epoch] }
		run := func(epochs int) *bench {
			b, _ := plain(t)
			b.task.Epochs, b.task.Batch, b.task.Schedule = epochs, 1000, rates
			return b
		}
		first := run(1)
		if err := first.run(t, u); err != nil {
			t.Fatal(err)
		}
		stopped(run(2), u, first.engine.Weights().Vector())
	}
	for _, u := range []unprune.Unlearner{
		unlearn.Fisher{Cap: 1e9, Alpha: 1e12}, unlearn.FisherNew{Alpha: 1e12}, unlearn.Influence{Alpha: 1e9},
		unlearn.Certified{Steps: 10, Batch: 16, Std: 1e9}, unlearn.SSD{Bound: 1e9, Lambda: 1e9, Alpha: 1, Batch: 16},
	} {
		b, _ := plain(t)
		stopped(b, u, b.engine.Weights().Vector())
	}
}

func TestWarnings(t *testing.T) {
	adam := ops.Optimizer{Kind: "adam"}
	tests := []struct {
		name string
		u    unprune.Unlearner
		set  func(*unprune.Task)
		want string
	}{
		{"adam", unlearn.FineTune{}, func(t *unprune.Task) { t.Optimizer = &adam }, `"conv1.bias"`},
		{"clamped", unlearn.Fisher{}, func(*unprune.Task) {}, "plays no part"},
		{"forget set", unlearn.NegGradPlus{}, func(t *unprune.Task) { t.Forget, t.Batch = t.Forget[:3], 16 }, "do not fill half a batch"},
		{"nothing chosen", unlearn.SSD{Alpha: 1e9}, func(*unprune.Task) {}, "nothing changed"},
	}
	for _, test := range tests {
		b, warnings := plain(t)
		b.task.Epochs, b.task.Rate, b.task.Batch = 1, 1e-3, 16
		test.set(b.task)
		if err := b.run(t, test.u); err != nil {
			t.Fatal(err)
		}
		if len(*warnings) != 1 || !strings.Contains((*warnings)[0], test.want) {
			t.Errorf("%s: warnings %q, want one with %q", test.name, *warnings, test.want)
		}
	}
}

// TestSnap trains with Adam: a bias before batch normalisation, whose gradient
// is rounding, must stay where it is, and the warning is gone.
func TestSnap(t *testing.T) {
	for _, snap := range []float64{0, 1e-6} {
		b, warnings := plain(t)
		b.task.Epochs, b.task.Rate, b.task.Batch, b.task.Snap = 1, 1e-3, 16, snap
		b.task.Optimizer = &ops.Optimizer{Kind: "adam"}
		bias := b.engine.Weights().Tensors["conv1.bias"]
		before := number(bias, 0)
		if err := b.run(t, unlearn.FineTune{}); err != nil {
			t.Fatal(err)
		}
		if stays := number(bias, 0) == before; stays != (snap > 0) || len(*warnings) == 0 != (snap > 0) {
			t.Errorf("snap %g: the bias stays: %v; warnings %q", snap, stays, *warnings)
		}
	}
}

// TestScale gives the Newton series too small a scale: an error with the
// eigenvalue, and unchanged weights; with the scale it proposes it converges to
// the solution of Hessian·step = gradient.
func TestScale(t *testing.T) {
	b := setUp(t, filepath.Join("../testdata/golden", "cu_mlp"), true)
	w := b.engine.Weights()
	start := w.Clone()
	all := func(int, int) []int { return rows(len(b.task.Retain)) }
	u := unlearn.Certified{Gamma: 2, Steps: 2000, Repeats: 1, Sample: all, Scale: 0.1}
	if err := b.run(t, u); err == nil || !strings.Contains(err.Error(), "eigenvalues of the Hessian reach") {
		t.Errorf("scale 0.1 gives %v", err)
	}
	if !slices.Equal(start.Vector(), w.Vector()) {
		t.Error("scale 0.1 changed the weights")
	}
	u.Scale = 0
	if err := b.run(t, u); err != nil {
		t.Fatal(err)
	}
	step := start.Vector()
	step.Axpy(-1, w.Vector())
	if err := w.Set(start); err != nil {
		t.Fatal(err)
	}
	term := unprune.Term{Data: b.task.Data, Index: b.task.Retain, Weight: 1, Eval: true}
	hessian, err := b.engine.Hessian(t.Context(), term)
	if err != nil {
		t.Fatal(err)
	}
	product, err := hessian(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	product.Axpy(5e-4+2, step)
	g, err := b.engine.Gradient(t.Context(), term)
	if err != nil {
		t.Fatal(err)
	}
	want := w.Flatten(g)
	want.Axpy(5e-4, w.Vector())
	product.Axpy(-1, want)
	if d := product.Norm(); !(d <= 1e-8*want.Norm()) {
		t.Errorf("Hessian·step is off the gradient by %.2g of %.2g", d, want.Norm())
	}
}

// TestRewind checks that SCRUB+R returns one of the states after an epoch, the
// one whose forget error is nearest to the validation error.
func TestRewind(t *testing.T) {
	b, _ := plain(t)
	b.task.Epochs, b.task.Rate, b.task.Batch = 4, 0.02, 16
	o := ops.Optimizer{Kind: "sgd", Momentum: 0.9}
	b.task.Optimizer = &o
	accuracy := func(rows []int) float64 {
		z, err := b.engine.Logits(t.Context(), b.task.Data, rows)
		if err != nil {
			t.Fatal(err)
		}
		var y []int64
		for _, row := range rows {
			y = append(y, b.task.Data.Y[row])
		}
		a, err := evalmetrics.Accuracy(z, y)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var states []unprune.Vector
	var accuracies []float64
	var atEnd float64 // accuracy of the last state on the validation samples
	validation := b.task.Retain[:20]
	b.task.Progress = func(string, int, int) {
		states, accuracies = append(states, b.engine.Weights().Vector()), append(accuracies, accuracy(b.task.Forget))
		atEnd = accuracy(validation)
	}
	u := unlearn.SCRUB{ForgetBatch: 8, Validation: b.task.Data.Subset(validation)}
	if err := b.run(t, u); err != nil {
		t.Fatal(err)
	}
	got := slices.IndexFunc(states, func(v unprune.Vector) bool { return slices.Equal(v, b.engine.Weights().Vector()) })
	if got < 0 {
		t.Fatal("the result is the state of no epoch")
	}
	for i, a := range accuracies {
		if math.Abs(a-atEnd) < math.Abs(accuracies[got]-atEnd) {
			t.Errorf("epoch %d has forget accuracy %g, nearer to %g than the chosen epoch %d with %g", i, a, atEnd, got, accuracies[got])
		}
	}
}

// TestStop ends gradient ascent at a wanted accuracy.
func TestStop(t *testing.T) {
	b, _ := plain(t)
	b.task.Epochs, b.task.Rate, b.task.Batch = 50, 1e-4, 16
	if err := b.run(t, unlearn.GradientAscent{Stop: 1}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.engine.steps); n != 2 {
		t.Errorf("%d steps, want those of one epoch, 2", n)
	}
}

// TestDeletedClass forgets a class as a whole: its output row is wiped unless
// the option says no class.
func TestDeletedClass(t *testing.T) {
	for _, classes := range [][]int{nil, {}} {
		b, _ := plain(t)
		d := b.task.Data
		b.task.Retain, b.task.Forget = nil, nil
		for row, y := range d.Y {
			if y == 2 {
				b.task.Forget = append(b.task.Forget, row)
			} else {
				b.task.Retain = append(b.task.Retain, row)
			}
		}
		fc := b.engine.Weights().Tensors["fc.weight"]
		before := number(fc, 2*fc.Shape[1])
		u := unlearn.FisherNew{Classes: classes, Noise: func(_ string, z []float64) { clear(z) }}
		if err := b.run(t, u); err != nil {
			t.Fatal(err)
		}
		want := before
		if classes == nil {
			want = 0
		}
		if got := number(fc, 2*fc.Shape[1]); got != want {
			t.Errorf("classes %v: the row of the deleted class holds %g, want %g", classes, got, want)
		}
	}
}

// TestDefaults sets every option to the default it declares; that must be
// possible, and none may be declared twice.
func TestDefaults(t *testing.T) {
	for _, m := range unlearn.All() {
		seen := map[string]bool{}
		for _, o := range m.Info().Options {
			if seen[o.Name] || o.About == "" {
				t.Errorf("%s: option %q is declared twice or not explained", m.Name(), o.Name)
			}
			seen[o.Name] = true
			if o.Default == "none" {
				continue
			}
			if err := o.Set(o.Default); err != nil {
				t.Errorf("%s: option %s=%s: %v", m.Name(), o.Name, o.Default, err)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	u, err := unlearn.New("salun", map[string]string{"variant": "c", "ratio": "0.3", "freeze": "strict", "forget-batch": "7"})
	if err != nil {
		t.Fatal(err)
	}
	s := u.(*unlearn.SalUn)
	if s.Variant != "c" || s.Ratio != 0.3 || s.Freeze != "strict" || s.ForgetBatch != 7 {
		t.Errorf("options give %+v", s)
	}
	u, err = unlearn.New("fisher-new", map[string]string{"classes": "1, 2"})
	if err != nil {
		t.Fatal(err)
	}
	if got := u.(*unlearn.FisherNew).Classes; !slices.Equal(got, []int{1, 2}) {
		t.Errorf("classes %v", got)
	}
	for _, test := range []struct {
		name, option, value, want string
	}{
		{"nothing", "", "", "no unlearner is named"},
		{"retrain", "alpha", "1", "there are: none"},
		{"salun", "rato", "1", `no option "rato"; there are: variant`},
		{"salun", "ratio", "much", "want a number"},
		{"salun", "ratio", "0", "stands for the default"},
		{"salun", "freeze", "soft", "want one of strict, leaky"},
		{"sfron", "every", "1.5", "want a whole number"},
		{"ssd", "batch", "-1", "not negative"},
		{"sfron", "strict", "perhaps", "want true or false"},
		{"fisher-new", "classes", "1;2", "commas"},
	} {
		_, err := unlearn.New(test.name, map[string]string{test.option: test.value})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s=%s: error %v, want %q", test.name, test.option, test.value, err, test.want)
		}
	}
}
