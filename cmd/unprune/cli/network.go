package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/train"
)

// embedded returns a stage of an embedded network by name: lenet-5 (the pruned
// one), lenet-5/dense, lenet-5/theta0.
func embedded(name string) ([]byte, bool) {
	name, stage, _ := strings.Cut(name, "/")
	var net models.Net
	switch name {
	case "lenet-300-100":
		net = models.LeNet300()
	case "lenet-5":
		net = models.LeNet5()
	default:
		return nil, false
	}
	switch stage {
	case "", "pruned":
		return net.Pruned, true
	case "dense":
		return net.Dense, true
	case "theta0":
		return net.Theta0, true
	}
	return nil, false
}

// readFile reads a model file, or an embedded network if there is no file of
// that name.
func readFile(path string) (*onnx.Model, error) {
	m, err := onnx.Read(path)
	if err == nil {
		return m, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if b, ok := embedded(path); ok {
			return onnx.Decode(b, nil)
		}
		if _, statErr := os.Stat(path); statErr != nil {
			return nil, fmt.Errorf("model %s: there is no such file", path)
		}
	}
	var format *onnx.FormatError
	if errors.As(err, &format) {
		return nil, fmt.Errorf("model %s cannot be read as ONNX (%s); is it complete, and exported by torch.onnx.export?", path, sentence(err))
	}
	return nil, err
}

// readNetwork reads a model and imports it.
func (a *app) readNetwork(path string) (*pass.Model, error) {
	m, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return a.importModel(path, m)
}

// readTrainable is readNetwork for commands that train or prune.
func (a *app) readTrainable(path string) (*pass.Model, error) {
	im, err := a.readNetwork(path)
	if err != nil {
		return nil, err
	}
	return im, checkTrainable(path, im)
}

// checkTrainable refuses models that can be run but neither trained nor pruned.
func checkTrainable(path string, im *pass.Model) error {
	if problems := im.Untrainable(); len(problems) > 0 {
		return fmt.Errorf("model %s can be run but not trained: %s", path, joined(problems))
	}
	return nil
}

func (a *app) importModel(path string, m *onnx.Model) (*pass.Model, error) {
	im, err := a.imports.Import(m)
	if err != nil {
		return nil, refusal(path, err)
	}
	for _, note := range im.Notes {
		a.log.Info(path + ": " + note)
	}
	for _, p := range im.Params {
		if i := firstNotFinite(p.Tensor()); i >= 0 && (p.Trainable || p.State()) { // a mask may hold an infinity
			return nil, fmt.Errorf("model %s: parameter %q holds NaN or an infinity (element %d); its training diverged", path, p.Name(), i)
		}
	}
	return im, nil
}

// missingOperators lists the operators that an import error names.
func missingOperators(err error) []string {
	var names []string
	collect := func(err error) {
		var unknown *ops.UnknownError
		if errors.As(err, &unknown) {
			names = append(names, operatorName(unknown.Node.Domain, unknown.Node.Op))
		}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			collect(e)
		}
	} else {
		collect(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func operatorName(domain, op string) string {
	if domain == "" {
		return op
	}
	return domain + "." + op
}

// firstNotFinite is the index of the first NaN or infinity, -1 if there is
// none.
func firstNotFinite(t *onnx.Tensor) int {
	switch x := t.Data.(type) {
	case []float32:
		return slices.IndexFunc(x, func(v float32) bool { return v-v != 0 })
	case []float64:
		return slices.IndexFunc(x, func(v float64) bool { return v-v != 0 })
	}
	return -1
}

// newEngine makes the engine for a model, on the native executor.
func (a *app) newEngine(path string, im *pass.Model) (*train.Engine, error) {
	e, err := train.New(im, train.Options{Compile: a.compiler(a.threads), Seed: a.seed})
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return e, nil
}

// sampleShape is the shape of one sample as the model takes it.
func sampleShape(im *pass.Model) ([]int, error) {
	if len(im.Graph.Inputs) != 1 {
		return nil, fmt.Errorf("the model has %d inputs; one is supported, the samples", len(im.Graph.Inputs))
	}
	in := im.Graph.Inputs[0]
	if len(in.Shape) < 2 {
		return nil, fmt.Errorf("input %q has shape %v; want [batch ...]", in.Name, []int(in.Shape))
	}
	for i, d := range in.Shape {
		if d < 0 && i > 0 {
			return nil, openAxis(in, i)
		}
	}
	return in.Shape[1:], nil
}

// otherWeights reads another stage of the network, matched by position in the
// graph, as weights for the engine. flag names where the path came from.
func (a *app) otherWeights(flag, path string, im *pass.Model, e unprune.Engine) (*unprune.Weights, error) {
	other, err := a.readNetwork(path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	twins, err := im.Match(other)
	if err != nil {
		return nil, fmt.Errorf("--%s %s does not belong to the model: %s", flag, path, sentence(err))
	}
	w := unprune.NewWeights()
	for i, p := range im.Params {
		if e.Weights().Tensors[p.Name()] != nil {
			w.Add(p.Name(), twins[i].Tensor(), p.State())
		}
	}
	return w, nil
}

// checkInitial refuses weights that cannot be the network's initial ones, and
// warns of those that hardly are.
func (a *app) checkInitial(path string, theta0 *unprune.Weights, layers []sparsity.Layer) error {
	pruned, zero := 0, 0
	var dot, ww, tt float64
	kept := 0
	for _, l := range layers {
		w, t := onnx.Of[float32](l.Weight), onnx.Of[float32](theta0.Tensors[l.Name])
		for i := range w {
			if w[i] == 0 {
				pruned++
				if t[i] == 0 {
					zero++
				}
				continue
			}
			kept++
			dot += float64(w[i]) * float64(t[i])
			ww += float64(w[i]) * float64(w[i])
			tt += float64(t[i]) * float64(t[i])
		}
	}
	if pruned > 0 && 2*zero > pruned {
		return fmt.Errorf("--initial %s is pruned itself; give the weights before training", path)
	}
	if r := dot / math.Sqrt(ww*tt); math.Abs(r) < 3/math.Sqrt(float64(kept)) {
		a.log.Warn(fmt.Sprintf("the kept weights show no trace of the initial weights in %s (correlation %.3f): is it the right file?", path, r))
	}
	return nil
}

// refusal says why a model cannot be imported: which operators are missing and
// what to do about it, then every reason with the nodes that it holds for.
func refusal(path string, err error) error {
	names := missingOperators(err)
	if len(names) == 0 {
		return fmt.Errorf("model %s: %w", path, err)
	}
	advice := "try another opset, or ask for them at " + bugReportAt
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "com.microsoft") }) {
		advice = "the file went through an offline optimiser; use the file before it"
	}
	text := fmt.Sprintf("model %s uses operators that are not implemented: %s; %s", path, strings.Join(names, ", "), advice)
	var refused *pass.ImportError
	if errors.As(err, &refused) {
		text += "; " + joined(refused.Problems)
	}
	return errors.New(text)
}

// joined lists problems: of missing operators the nodes, of others the reason
// too.
func joined(problems []pass.Problem) string {
	var list []string
	for _, p := range problems {
		if p.Unknown != nil {
			list = append(list, fmt.Sprintf("%s (opset %d) at %s", p.Operator, p.Unknown.Node.Version, p.Where()))
		} else {
			list = append(list, p.String())
		}
	}
	return strings.Join(list, "; ")
}
