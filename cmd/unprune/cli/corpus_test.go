package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// corpusFile is an entry of the manifest that models/make/make_corpus.py
// writes.
type corpusFile struct {
	File, Family, Dialect string
	Refused               string // by the exporter: there is no file
	Batches               []int
	Training              bool // normalises by batch statistics
	Classifies            bool
	Random                bool // draws its own noise: its outputs are not compared
}

// corpusChecks are what is asked of every file, in the order of the table's
// columns.
var corpusChecks = []string{"load", "outputs", "step", "convert"}

// TestCorpus runs over a folder of real exports: every file loads, its outputs
// are ONNX Runtime's, the gradients of a training step are those that ONNX
// Runtime computes from the training graph, and convert changes nothing. It
// ends with a table per family.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("CORPUS_DIR")
	if dir == "" {
		t.Skip("SKIPPED: CORPUS_DIR does not name a corpus; models/make/make_corpus.py makes one")
	}
	lib, err := ort.Find("")
	if err == nil {
		err = ort.Open(lib)
	}
	if err != nil {
		t.Fatalf("the corpus is checked against ONNX Runtime: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	var manifest struct{ Files []corpusFile }
	if err = errors.Join(err, json.Unmarshal(b, &manifest)); err != nil || len(manifest.Files) == 0 {
		t.Fatalf("manifest: %d files, %v", len(manifest.Files), err)
	}
	team := kernel.NewTeam(1)
	t.Cleanup(team.Close)
	c := &corpus{dir: dir, team: team, passed: map[string]map[string]int{}, total: map[string]map[string]int{}}
	for _, f := range manifest.Files {
		if f.Refused == "" {
			t.Run(f.File, func(t *testing.T) { c.check(t, f) })
		}
	}
	t.Log("\n" + c.table())
}

type corpus struct {
	dir           string
	team          *kernel.Team
	families      []string
	passed, total map[string]map[string]int // family, check
}

// note counts one check of one file.
func (c *corpus) note(t *testing.T, f corpusFile, check string, err error) {
	if c.total[f.Family] == nil {
		c.families = append(c.families, f.Family)
		c.total[f.Family], c.passed[f.Family] = map[string]int{}, map[string]int{}
	}
	c.total[f.Family][check]++
	if err != nil {
		t.Errorf("%s: %v", check, err)
		return
	}
	c.passed[f.Family][check]++
}

func (c *corpus) check(t *testing.T, f corpusFile) {
	path := filepath.Join(c.dir, f.File)
	im, data, err := loadCorpusFile(path)
	c.note(t, f, "load", err)
	if err != nil {
		for _, check := range corpusChecks[1:] {
			if check != "step" || f.Classifies {
				c.note(t, f, check, errors.New("not loaded"))
			}
		}
		return
	}
	var failed error
	for _, n := range f.Batches {
		failed = errors.Join(failed, c.outputs(t, f, im, data, n))
	}
	c.note(t, f, "outputs", failed)
	if f.Classifies {
		c.note(t, f, "step", c.step(t, im, data, f.Batches[len(f.Batches)-1]))
	}
	c.note(t, f, "convert", convertUnchanged(t, path))
}

func loadCorpusFile(path string) (*pass.Model, tensors, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, nil, err
	}
	im, err := pass.Import(m)
	if err != nil {
		return nil, nil, err
	}
	data, err := npz.ReadFile(strings.TrimSuffix(path, ".onnx") + ".npz")
	return im, data, err
}

// corpusFeeds are a file's inputs for a batch of n.
func corpusFeeds(g *graph.Graph, data tensors, n int) tensors {
	feeds := tensors{}
	for i, in := range g.Inputs {
		feeds[in.Name] = cloned(data[fmt.Sprintf("x%d.%d", n, i)])
	}
	return feeds
}

// cloned is a copy of floating-point inputs, which steps scale.
func cloned(t *onnx.Tensor) *onnx.Tensor {
	x, ok := t.Data.([]float32)
	if !ok {
		return t
	}
	return onnx.FromSlice(slices.Clone(x), t.Shape...)
}

// run executes a specialised graph; the noise of dropout drops nothing.
func (c *corpus) run(t *testing.T, g *graph.Graph, feeds tensors) (tensors, error) {
	p, err := exec.Compile(g, exec.Options{Team: c.team, State: feeds})
	if err != nil {
		return nil, err
	}
	if err := p.Run(t.Context()); err != nil {
		return nil, err
	}
	outs := tensors{}
	for _, v := range g.Outputs {
		outs[v.Name] = p.Output(v.Name)
	}
	return outs, nil
}

func addNoise(g *graph.Graph, feeds tensors) {
	for _, n := range g.Noise {
		noise := onnx.NewTensor(onnx.Float32, g.Value(n.Input).Shape...)
		for i := range onnx.Of[float32](noise) {
			onnx.Of[float32](noise)[i] = 1
		}
		feeds[n.Input] = noise
	}
}

// outputs compares with the outputs that ONNX Runtime computed from the file.
func (c *corpus) outputs(t *testing.T, f corpusFile, im *pass.Model, data tensors, n int) error {
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: n, Training: f.Training, Keep: keepParams(im)})
	if err != nil {
		return err
	}
	feeds := corpusFeeds(im.Graph, data, n)
	addNoise(g, feeds)
	got, err := c.run(t, g, feeds)
	if err != nil {
		return err
	}
	for i, out := range im.Graph.Outputs {
		want := data[fmt.Sprintf("y%d.%d", n, i)]
		if want == nil || f.Random {
			continue // running statistics that a training export hands out
		}
		if err := close(got[out.Name], want); err != nil {
			return fmt.Errorf("batch %d, output %q: %w", n, out.Name, err)
		}
	}
	return nil
}

// close is what the corpus asks of outputs.
func close(got, want *onnx.Tensor) error {
	const rtol, atol = 1e-3, 1e-5
	if got == nil || !slices.Equal(got.Shape, want.Shape) || got.DType != want.DType {
		return fmt.Errorf("have %v, want %v%v", got, want.DType, want.Shape)
	}
	if want.DType != onnx.Float32 {
		return nil
	}
	a, b := onnx.Of[float32](got), onnx.Of[float32](want)
	for i := range b {
		x, y := float64(a[i]), float64(b[i])
		if !(math.Abs(x-y) <= atol+rtol*math.Abs(y)) {
			return fmt.Errorf("element %d is %g, want %g", i, x, y)
		}
	}
	return nil
}

func keepParams(im *pass.Model) map[string]bool {
	keep := map[string]bool{}
	for _, p := range im.Params {
		keep[p.Name()] = p.Trainable || p.State()
	}
	return keep
}

// step compares loss and gradients of one training step. Where a ReLU's input
// is within rounding of zero, two executors may differ and both be right; that
// does not happen again with inputs that are a little larger.
func (c *corpus) step(t *testing.T, im *pass.Model, data tensors, n int) error {
	var err error
	for _, scale := range []float32{1, 1.01, 1.02} {
		if err = c.stepAt(t, im, data, n, scale); err == nil {
			return nil
		}
	}
	return err
}

// stepAt is a step on inputs that are multiplied by scale.
func (c *corpus) stepAt(t *testing.T, im *pass.Model, data tensors, n int, scale float32) error {
	g, feeds, err := corpusStep(im, data, n)
	if err != nil {
		return err
	}
	for _, in := range im.Graph.Inputs {
		if x, ok := feeds[in.Name].Data.([]float32); ok {
			for i := range x {
				x[i] *= scale
			}
		}
	}
	m, err := pass.Portable(g)
	if err != nil {
		return err
	}
	native, err := c.run(t, g, feeds)
	if err != nil {
		return err
	}
	b, err := m.Encode()
	if err != nil {
		return err
	}
	s, err := ort.NewSession(b, ort.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	want, err := s.Run(t.Context(), feeds)
	if err != nil {
		return err
	}
	return sameGradients(append([]string{autodiff.LossName}, gradNames(im)...), native, want)
}

func gradNames(im *pass.Model) []string {
	var names []string
	for _, name := range im.TrainableNames() {
		names = append(names, autodiff.GradName(name))
	}
	return names
}

// corpusStep makes the graph that computes loss and gradients for a batch
// of n, and its feeds.
func corpusStep(im *pass.Model, data tensors, n int) (*graph.Graph, tensors, error) {
	g, err := pass.Specialise(im.Trunk(), pass.Target{Batch: n, Training: true, Keep: keepParams(im)})
	if err != nil {
		return nil, nil, err
	}
	labels := onnx.NewTensor(onnx.Int64, n)
	for i := range onnx.Of[int64](labels) {
		onnx.Of[int64](labels)[i] = int64(i % 10)
	}
	feeds := corpusFeeds(im.Graph, data, n)
	feeds[autodiff.LabelsName] = labels
	var state []string
	for _, p := range im.Params {
		if g.Value(p.Name()) == nil {
			continue
		}
		if p.State() {
			state = append(state, p.Name())
		}
		if p.State() || p.Trainable {
			feeds[p.Name()] = p.Tensor()
		}
	}
	addNoise(g, feeds)
	if len(im.TrainableNames()) == 0 {
		return nil, nil, errors.New("no parameter is trainable")
	}
	err = autodiff.Train(g, autodiff.TrainOptions{Logits: im.Logits.Name, Params: im.TrainableNames(), State: state, Gradients: true})
	if err != nil {
		return nil, nil, err
	}
	for _, in := range g.Inputs {
		if feeds[in.Name] == nil {
			return nil, nil, fmt.Errorf("the training graph has an input %q that nothing feeds", in.Name)
		}
	}
	return g, feeds, nil
}

// sameGradients allows each tensor an error relative to its largest entry, and
// to the network's largest gradient: one that is zero but for rounding has no
// digits to compare.
func sameGradients(names []string, got, want tensors) error {
	const tol, floor = 1e-3, 1e-5
	largest := 0.0
	for _, name := range names[1:] {
		largest = max(largest, magnitude(want[name]))
	}
	if largest == 0 {
		return errors.New("every gradient is zero")
	}
	for _, name := range names {
		a, b := onnx.Of[float32](got[name]), onnx.Of[float32](want[name])
		allowed := max(tol*magnitude(want[name]), floor*largest)
		for i := range b {
			if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= allowed) {
				return fmt.Errorf("%s[%d] is %g, ONNX Runtime has %g (largest entry %g)", name, i, a[i], b[i], magnitude(want[name]))
			}
		}
	}
	return nil
}

func magnitude(t *onnx.Tensor) float64 {
	largest := 0.0
	for _, x := range onnx.Of[float32](t) {
		largest = max(largest, math.Abs(float64(x)))
	}
	return largest
}

// convertUnchanged converts without any option and compares the models.
func convertUnchanged(t *testing.T, path string) error {
	out := filepath.Join(t.TempDir(), "out.onnx")
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"convert", path, "-o", out}, io.Discard, &stderr); code != exitDone {
		return fmt.Errorf("exit code %d: %s", code, &stderr)
	}
	var encoded [2][]byte
	for i, name := range []string{path, out} {
		m, err := onnx.Read(name)
		if err != nil {
			return err
		}
		if encoded[i], err = m.Encode(); err != nil {
			return err
		}
	}
	if !bytes.Equal(encoded[0], encoded[1]) {
		return errors.New("the converted model is another")
	}
	return nil
}

// table shows passed of total per family and check, in Markdown.
func (c *corpus) table() string {
	var b strings.Builder
	row := func(family string, cell func(check string) string) {
		fmt.Fprintf(&b, "| %s |", family)
		for _, check := range corpusChecks {
			fmt.Fprintf(&b, " %s |", cell(check))
		}
		b.WriteByte('\n')
	}
	row("family", func(check string) string { return check })
	row("---", func(string) string { return "---" })
	passed, total := map[string]int{}, map[string]int{}
	for _, family := range c.families {
		row(family, func(check string) string {
			p, n := c.passed[family][check], c.total[family][check]
			passed[check] += p
			total[check] += n
			if n == 0 {
				return "-"
			}
			return fmt.Sprintf("%d/%d", p, n)
		})
	}
	row("all", func(check string) string { return fmt.Sprintf("%d/%d", passed[check], total[check]) })
	return b.String()
}
