package unlearn_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
	"github.com/unprune/unprune/unprune/unlearn"
)

// goldenDir holds the reference cases: GOLDEN_DIR, or the committed copy.
func goldenDir() string {
	if dir := os.Getenv("GOLDEN_DIR"); dir != "" {
		return dir
	}
	return "../testdata/golden"
}

// hyper is the union of the hyper-parameters of the cases.
type hyper struct {
	Alpha         float64
	Betas         []float64
	Batch         int
	ClassToForget int     `json:"class_to_forget"`
	ClampMax      float64 `json:"noise_std_clamp_max"`
	Dampening     float64 `json:"dampening_constant"`
	DecreasingLR  string  `json:"decreasing_lr"`
	EmaBeta       float64 `json:"ema_beta"`
	Eps           float64
	Epochs        int
	Exponent      float64
	ForgetAlpha   float64 `json:"forget_alpha"`
	ForgetBatch   int     `json:"forget_batch"`
	ForgetFreq    int     `json:"forget_freq"`
	FullBatch     int     `json:"full_batch"`
	Gamma         float64
	InnerBatch    int     `json:"inner_batch"`
	KDT           float64 `json:"kd_T"`
	Lambda        float64 `json:"lambd"`
	LowerBound    float64 `json:"lower_bound"`
	LR            float64
	LRDecayEpochs []int   `json:"lr_decay_epochs"`
	LRDecayRate   float64 `json:"lr_decay_rate"`
	MaxNorm       float64 `json:"max_norm"`
	Momentum      float64
	MSteps        int `json:"msteps"`
	N             int
	NIters        int `json:"n_iters"`
	NoL1Epochs    int `json:"no_l1_epochs"`
	Opt           string
	Optimizer     string
	P             float64
	Ratios        []float64
	RetainBatch   int     `json:"retain_batch"`
	RetainLR      float64 `json:"retain_lr"`
	Rounds        int
	S1            int
	S2            int
	Saliency      float64 `json:"saliency_ratio"`
	Scale         float64
	Sched         string
	Schedule      string
	Selection     float64 `json:"selection_weighting"`
	SGDAEpochs    int     `json:"sgda_epochs"`
	SGDADecay     float64 `json:"sgda_weight_decay"`
	SGDAMomentum  float64 `json:"sgda_momentum"`
	SGDARate      float64 `json:"sgda_learning_rate"`
	Smoothing     float64
	Std           float64
	Temperature   float64 `json:"KL_temperature"`
	Threshold     float64 `json:"th"`
	Unlearner     string
	UnlearnBatch  int     `json:"unlearn_batch_size"`
	UnlearnEpochs int     `json:"unlearn_epochs"`
	UnlearnLR     float64 `json:"unlearn_lr"`
	VarClampMax   float64 `json:"var_clamp_max"`
	VarClampLast  float64 `json:"var_clamp_max_last"`
	WeightDecay   float64 `json:"weight_decay"`
	Nesterov      bool
	Classes       int   `json:"num_classes"`
	Recalibrate   *bool `json:"bn_recalibrate"`

	// How masks and networks that are in the case's files were made.
	GlobalL1 float64 `json:"global_l1_amount"`
	Sparsity float64
}

// constants are numbers that cases name and methods do not let one choose.
var constants = map[string]float64{
	"grad_epsilon": 1e-8, "fisher_epsilon": 1e-15, "coef_epsilon": 1e-15,
	"class_row_mean": 0, "class_row_var_before_x10": 1e-4, "row0_mean": 0, "row0_var_before_x10": 1e-4,
	"one_dim_var_factor": 10, "factor_last_or_one_dim": 10,
}

// UnmarshalJSON refuses numbers that nothing reads: a case that sets one would
// be run without it. Words that nothing reads are explanations.
func (h *hyper) UnmarshalJSON(text []byte) error {
	type plain hyper
	if err := json.Unmarshal(text, (*plain)(h)); err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range reflect.TypeFor[hyper]().NumField() {
		f := reflect.TypeFor[hyper]().Field(i)
		known[strings.ToLower(cmp.Or(f.Tag.Get("json"), f.Name))] = true
	}
	for key, value := range all {
		_, words := value.(string)
		constant, fixed := constants[key]
		switch {
		case fixed && value != constant:
			return fmt.Errorf("hyper-parameter %s is %v; the methods have %g", key, value, constant)
		case !fixed && !words && !known[strings.ToLower(key)]:
			return fmt.Errorf("nothing reads the hyper-parameter %s", key)
		}
	}
	return nil
}

// goldenCase is case.json.
type goldenCase struct {
	Algorithm     string
	Model         string
	Hyper         hyper
	BatchOrder    string `json:"batch_order"`
	Note          string
	NotComparable struct{ Tensors map[string]float64 } `json:"not_comparable"`
	ParamOrder    []string                             `json:"param_order"`
	Tolerance     struct {
		Atol      float64                           // of tensors that have none of their own
		PerTensor map[string]struct{ Atol float64 } `json:"per_tensor"`
	}
	dir string
}

// bench is a case set up to run: an engine on before.onnx and the shared data,
// retained samples first.
type bench struct {
	goldenCase
	engine *recorder
	task   *unprune.Task

	// moving is 0 where a parameter is put back after each step: the reference
	// recorded steps before that, with its momentum cleared.
	moving unprune.Vector
}

func readCase(t *testing.T, dir string) *goldenCase {
	t.Helper()
	c := &goldenCase{dir: dir}
	readJSON(t, dir, c)
	return c
}

func readJSON(t *testing.T, dir string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
}

func setUp(t *testing.T, dir string, double bool) *bench {
	t.Helper()
	b := &bench{goldenCase: *readCase(t, dir)}
	m, err := onnx.Read(filepath.Join(dir, "before.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.New(im, train.Options{Double: double, Compile: compile})
	if err != nil {
		t.Fatal(err)
	}
	if n := b.Hyper.Classes; n != 0 && n != e.Classes() {
		t.Fatalf("the case has %d classes, its network %d", n, e.Classes())
	}
	b.engine = &recorder{Engine: e, order: b.ParamOrder}
	d, retain, forget := goldenData(t, filepath.Join(filepath.Dir(dir), "data.npz"), b.Model, e.Classes())
	b.task = &unprune.Task{Engine: b.engine, Data: d, Retain: retain, Forget: forget}
	return b
}

func compile(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
	return exec.Compile(g, exec.Options{State: state, Into: into})
}

// recorder keeps the parameters and the learning rate of every step.
type recorder struct {
	*train.Engine
	order []string
	steps [][]float64
	rates []float64
}

func (r *recorder) Step(ctx context.Context, rate float64, terms ...unprune.Term) (float64, error) {
	loss, err := r.Engine.Step(ctx, rate, terms...)
	r.record(rate)
	return loss, err
}

func (r *recorder) Apply(ctx context.Context, rate float64) error {
	err := r.Engine.Apply(ctx, rate)
	r.record(rate)
	return err
}

func (r *recorder) record(rate float64) {
	var all []float64
	for _, name := range r.order {
		t := r.Weights().Tensors[name]
		for i := range t.Len() {
			all = append(all, number(t, i))
		}
	}
	r.steps, r.rates = append(r.steps, all), append(r.rates, rate)
}

func goldenData(t *testing.T, file, model string, classes int) (d *data.Dataset, retain, forget []int) {
	t.Helper()
	z, err := npz.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var x []float32
	var y []int64
	var shape []int
	for _, part := range []string{"retain", "forget"} {
		xs := z[model+"_x_"+part]
		start := len(y)
		x, y = append(x, onnx.Of[float32](xs)...), append(y, onnx.Of[int64](z["y_"+part])...)
		shape = xs.Shape[1:]
		for i := start; i < len(y); i++ {
			if part == "retain" {
				retain = append(retain, i)
			} else {
				forget = append(forget, i)
			}
		}
	}
	d = &data.Dataset{X: onnx.FromSlice(x, append([]int{len(y)}, shape...)...), Y: y, Classes: classes}
	return d, retain, forget
}

// recordedLabels hands out the labels that the reference drew, batch by batch.
func (b *bench) recordedLabels(t *testing.T) func(int, []int) []int64 {
	draws, n := b.read(t, "noise.npz"), 0
	return func(_ int, index []int) []int64 {
		n++
		return onnx.Of[int64](draws[fmt.Sprintf("d%03d_randint", n-1)])[:len(index)]
	}
}

// recordedNoise hands out the normal numbers that the reference drew, one tensor
// per parameter in its order.
func (b *bench) recordedNoise(t *testing.T) unlearn.Noise {
	draws := b.read(t, "noise.npz")
	return func(param string, z []float64) {
		d := draws[fmt.Sprintf("d%03d_normal", slices.Index(b.ParamOrder, param))]
		for i := range z {
			z[i] = number(d, i)
		}
	}
}

// salunRatio is the saliency ratio of the SalUn case for the same model, whose
// mask the case uses; without such a case 0, the published one.
func (b *bench) salunRatio(t *testing.T) float64 {
	t.Helper()
	dir := filepath.Join(filepath.Dir(b.dir), "salun_"+b.Model)
	if _, err := os.Stat(dir); err != nil {
		return 0
	}
	return readCase(t, dir).Hyper.Saliency
}

// checkMask compares a mask over all parameters with the recorded one.
func (b *bench) checkMask(t *testing.T, compute func(context.Context) (unprune.Vector, error)) unprune.Vector {
	t.Helper()
	return b.checkParts(t, "mask/", compute, func(got, want float64) bool { return got == want })
}

// checkVector compares an intermediate result with the recorded one, which is
// float32; not every case has one.
func (b *bench) checkVector(t *testing.T, prefix string, compute func(context.Context) (unprune.Vector, error)) {
	t.Helper()
	if !b.has("extra.npz") {
		return
	}
	b.checkParts(t, prefix, compute, func(got, want float64) bool { return math.Abs(got-want) <= 1e-4*math.Abs(want)+1e-12 })
}

func (b *bench) checkParts(t *testing.T, prefix string, compute func(context.Context) (unprune.Vector, error), same func(got, want float64) bool) unprune.Vector {
	t.Helper()
	v, err := compute(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := b.read(t, "extra.npz")
	for _, p := range b.engine.Weights().Parts() {
		w := want[prefix+p.Name]
		if w == nil {
			t.Fatalf("extra.npz has no %s%s", prefix, p.Name)
		}
		for i, x := range p.Of(v) {
			if !same(x, number(w, i)) {
				t.Errorf("%s%s[%d] is %g, the reference has %g", prefix, p.Name, i, x, number(w, i))
				break
			}
		}
	}
	return v
}

// anneal makes the schedule a cosine.
func (b *bench) anneal() *bench {
	h := b.Hyper
	b.task.Schedule = unprune.Cosine(h.LR + h.SGDARate + h.RetainLR)
	return b
}

// batchSizes finds "batches of 16" where a case tells batch sizes in words only.
var batchSizes = regexp.MustCompile(`batches of (\d+)`)

func batchIn(t *testing.T, text string) int {
	t.Helper()
	m := batchSizes.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no batch size in %q", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bench) run(t *testing.T, u unprune.Unlearner) error { return u.Unlearn(t.Context(), b.task) }

func (b *bench) read(t *testing.T, file string) map[string]*onnx.Tensor {
	t.Helper()
	z, err := npz.ReadFile(filepath.Join(b.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func (b *bench) masks(t *testing.T, file, prefix string) *sparsity.Masks {
	t.Helper()
	ms := &sparsity.Masks{}
	z := b.read(t, file)
	for _, l := range b.engine.Layers() {
		if m := z[prefix+l.Name]; m != nil {
			ms.Set(l.Name, maskOf(m))
		}
	}
	return ms
}

func maskOf(t *onnx.Tensor) *sparsity.Mask {
	m := sparsity.NewMask(t.Shape...)
	for i, v := range onnx.Of[uint8](t) {
		m.Set(i, v != 0)
	}
	return m
}

// TestGolden runs the reference cases in both precisions. Parameters are
// compared after each step first, so that the first wrong step is named.
func TestGolden(t *testing.T) {
	entries, err := os.ReadDir(goldenDir())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, entry := range entries {
		dir := filepath.Join(goldenDir(), entry.Name())
		if !entry.IsDir() {
			continue
		}
		var head struct{ Algorithm string }
		readJSON(t, dir, &head)
		runner := runners[head.Algorithm]
		if runner == nil {
			if !elsewhere.MatchString(head.Algorithm) {
				t.Errorf("%s: no test runs the algorithm %q", dir, head.Algorithm)
			}
			continue
		}
		ran++
		t.Run(entry.Name(), func(t *testing.T) { runCase(t, dir, runner) })
	}
	if ran == 0 {
		t.Skipf("SKIPPING: %s holds no case of an unlearner", goldenDir())
	}
}

// elsewhere are algorithms whose cases packages sparsity, evalmetrics and unprune
// run.
var elsewhere = regexp.MustCompile(`^(prune_(omp|structured|channel|snip|grasp|synflow)|fpgm|sfp|lth|bound_masks|divergence|iou|svc_mia|threshold_mia)$`)

// TestHyper refuses what a case would be run without.
func TestHyper(t *testing.T) {
	for text, want := range map[string]string{
		`{"lr": 0.1, "mode": "train", "grad_epsilon": 1e-8}`: "",
		`{"lr": 0.1, "dampening_rate": 0.1}`:                 "nothing reads the hyper-parameter dampening_rate",
		`{"grad_epsilon": 1e-6}`:                             "the methods have 1e-08",
	} {
		err := json.Unmarshal([]byte(text), &hyper{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func runCase(t *testing.T, dir string, runner func(t *testing.T, b *bench) error) {
	exact := setUp(t, dir, true)
	if err := runner(t, exact); err != nil {
		t.Fatal(err)
	}
	if exact.has("steps.npz") {
		exact.compareSteps(t, exact.engine.steps)
	}
	if exact.has("after64.npz") {
		exact.compare(t, exact.read(t, "after64.npz"), func(string) float64 { return 1e-9 })
	}
	if !exact.has("after.npz") {
		return // the case has a float64 reference only, or masks
	}
	b := setUp(t, dir, false)
	if err := runner(t, b); err != nil {
		t.Fatal(err)
	}
	if b.has("steps.npz") {
		b.compareSteps(t, exact.engine.steps)
	}
	b.compare(t, b.read(t, "after.npz"), b.tolerance)
}

// tolerance is that of a tensor in single precision.
func (b *bench) tolerance(name string) float64 {
	if t, ok := b.Tolerance.PerTensor[name]; ok {
		return t.Atol
	}
	return b.Tolerance.Atol
}

func (b *bench) has(file string) bool {
	_, err := os.Stat(filepath.Join(b.dir, file))
	return err == nil
}

func (b *bench) compare(t *testing.T, want map[string]*onnx.Tensor, tol func(name string) float64) {
	t.Helper()
	for _, name := range b.engine.Weights().Names {
		w := want[name]
		if w == nil {
			t.Errorf("the reference has no %q", name)
			continue
		}
		if b.skips(name) {
			continue
		}
		got := b.engine.Weights().Tensors[name]
		for i := range w.Len() {
			if d := math.Abs(number(got, i) - number(w, i)); !(d <= tol(name)) {
				t.Errorf("%s[%d] (%v) is %g, want %g: off by %.2g, allowed %.2g", name, i, got.DType, number(got, i), number(w, i), d, tol(name))
				break
			}
		}
	}
}

func (b *bench) skips(name string) bool {
	_, skip := b.NotComparable.Tensors[name]
	return skip
}

// stepTolerance multiplies the tolerance of a case, which was measured after the
// last step, for the reference's rounding on the way: it may fade again
// (scrub_smooth, whose penalty turns the rounding of a first tiny step into a
// direction).
const stepTolerance = 16

// compareSteps checks the parameters after each optimizer step against those
// that the reference recorded, in single precision. exact are the same steps in
// double precision, which tell how far rounding took the reference; a step may
// be off by eight times that, as the tolerance of cases is made.
func (b *bench) compareSteps(t *testing.T, exact [][]float64) {
	t.Helper()
	recorded := b.read(t, "steps.npz")
	want := onnx.Of[float32](recorded["params"])
	if n := recorded["params"].Shape[0]; len(b.engine.steps) != n {
		t.Fatalf("%d steps, the reference takes %d", len(b.engine.steps), n)
	}
	held := map[string]unprune.Vector{}
	for _, p := range b.engine.Weights().Parts() {
		if b.moving != nil {
			held[p.Name] = p.Of(b.moving)
		}
	}
	for s, got := range b.engine.steps {
		if rate := number(recorded["lr"], s); math.Abs(b.engine.rates[s]-rate) > 1e-9*rate+1e-12 {
			t.Fatalf("step %d has learning rate %g, the reference %g", s, b.engine.rates[s], rate)
		}
		for _, name := range b.ParamOrder {
			size := b.engine.Weights().Tensors[name].Len()
			if !b.skips(name) {
				b.compareStep(t, fmt.Sprintf("step %d: %s", s, name), got[:size], exact[s][len(exact[s])-len(got):][:size], want[:size], held[name], b.tolerance(name))
			}
			got, want = got[size:], want[size:]
		}
	}
}

// compareStep checks one tensor; what is not held moves everywhere.
func (b *bench) compareStep(t *testing.T, what string, got, exact []float64, want []float32, held unprune.Vector, tol float64) {
	t.Helper()
	rounding, at := 0.0, 0
	for i, w := range want {
		if d := math.Abs(exact[i] - float64(w)); (held == nil || held[i] != 0) && !(d <= rounding) {
			rounding, at = d, i
		}
	}
	if !(rounding <= stepTolerance*tol) {
		t.Fatalf("first wrong step, in double precision: %s[%d] is %g, the reference has %g", what, at, exact[at], want[at])
	}
	for i, w := range want {
		if held != nil && held[i] == 0 {
			continue
		}
		if d := math.Abs(got[i] - float64(w)); !(d <= max(tol, 8*rounding)) {
			t.Fatalf("first wrong step: %s[%d] is %g, the reference has %g (off by %.2g)", what, i, got[i], w, d)
		}
	}
}

func number(t *onnx.Tensor, i int) float64 {
	switch s := t.Data.(type) {
	case []float64:
		return s[i]
	case []uint8:
		return float64(s[i])
	}
	return float64(onnx.Of[float32](t)[i])
}
