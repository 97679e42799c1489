package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// verification is what a check of a model file found.
type verification struct {
	Model     string        `json:"model"`
	Reference string        `json:"reference"` // what the native executor's outputs were compared with
	Samples   int           `json:"samples"`
	Tolerance float64       `json:"tolerance"` // of max_abs / scale
	Outputs   []outputCheck `json:"outputs"`
	Mask      *maskCheck    `json:"mask,omitempty"`
	OK        bool          `json:"ok"`
}

// outputCheck compares one output.
type outputCheck struct {
	Name    string  `json:"name"`
	MaxAbs  float64 `json:"max_abs"`
	MaxRel  float64 `json:"max_rel"`
	Scale   float64 `json:"scale"` // the largest value of the reference
	Problem string  `json:"problem,omitempty"`
	OK      bool    `json:"ok"`
}

// maskCheck compares a file's zeros with a mask.
type maskCheck struct {
	Layers   int `json:"layers"`
	Pruned   int `json:"pruned"`   // weights that the mask prunes
	Violated int `json:"violated"` // of them, not zero in the file
}

// verifyOptions are the flags of commands that verify what they wrote.
type verifyOptions struct {
	skip      bool
	tolerance float64
}

const defaultTolerance = 1e-4

func (o *verifyOptions) add(f *pflag.FlagSet) {
	f.BoolVar(&o.skip, "no-verify", false, "do not check the written file with ONNX Runtime")
	f.Float64Var(&o.tolerance, "tolerance", defaultTolerance, "largest difference between ONNX Runtime and the native executor, relative to the largest output")
}

// verifySamples is how many samples a verification computes.
const verifySamples = 64

// check verifies a file that was just written: that it is pruned as the masks
// promise, and that ONNX Runtime computes from it what the native executor
// does. Without ONNX Runtime it says so and goes on.
func (o *verifyOptions) check(ctx context.Context, a *app, path string, masks *sparsity.Masks, samples *data.Dataset) (written, error) {
	w := written{path: path, runtime: "not verified"}
	if o.skip {
		a.log.Info(fmt.Sprintf("wrote %s, not verified", path))
		return w, nil
	}
	m, im, err := a.reread(path)
	if err != nil {
		return w, brokenf("the file just written cannot be read: %w", err)
	}
	found, err := checkMask(im, masks)
	if err != nil {
		return w, brokenError{err}
	}
	if found.Violated > 0 {
		return w, brokenf("%s: %d of %d pruned weights are not zero", path, found.Violated, found.Pruned)
	}
	lib, err := a.openRuntime()
	if err != nil {
		a.log.Warn(fmt.Sprintf("wrote %s, pruned as promised, but NOT verified by ONNX Runtime", path))
		a.noRuntime.Do(func() { a.log.Warn(sentence(err)) })
		return w, nil
	}
	feeds, err := sampleFeeds(im, samples, verifySamples)
	if err != nil {
		return w, brokenf("%s cannot be verified: %w", path, err)
	}
	w.runtime = "ONNX Runtime " + lib.Version
	if w.check, err = a.compareExecutors(ctx, m, im, feeds, o.tolerance); err != nil {
		return w, brokenf("%s cannot be verified: %w", path, err)
	}
	if !w.check.OK {
		return w, brokenf("%s: %s and the native executor disagree: %s", path, w.runtime, w.check.worst())
	}
	w.check.Model, w.check.Reference, w.check.Mask = path, w.runtime, &found
	a.log.Info(fmt.Sprintf("wrote %s: %d zeros as promised, %s agrees within %.1g", path, found.Pruned, w.runtime, w.check.largest()))
	return w, nil
}

// reread reads a file that this program wrote, without the notes about it.
func (a *app) reread(path string) (*onnx.Model, *pass.Model, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, nil, err
	}
	im, err := pass.Import(m)
	return m, im, err
}

// checkMask counts the weights that a mask prunes and that are not zero.
func checkMask(im *pass.Model, masks *sparsity.Masks) (maskCheck, error) {
	var c maskCheck
	for name, m := range masks.All() {
		p := im.Param(name)
		if p == nil {
			return c, fmt.Errorf("the mask has a layer %q that the model has not", name)
		}
		have, err := sparsity.FromValues(p.Tensor())
		if err != nil {
			return c, err
		}
		if have.Len() != m.Len() {
			return c, fmt.Errorf("layer %q has %d weights, its mask %d", name, have.Len(), m.Len())
		}
		c.Layers++
		c.Pruned += m.Len() - m.Count()
		c.Violated += have.AndNot(m).Count()
	}
	return c, nil
}

// compareExecutors runs a model on both executors.
func (a *app) compareExecutors(ctx context.Context, m *onnx.Model, im *pass.Model, feeds tensors, tolerance float64) (*verification, error) {
	native, err := a.runNative(ctx, im, feeds)
	if err != nil {
		return nil, err
	}
	reference, err := a.runONNXRuntime(ctx, m, feeds)
	if err != nil {
		return nil, err
	}
	return newVerification(native, reference, tolerance), nil
}

func newVerification(have, reference tensors, tolerance float64) *verification {
	v := &verification{Tolerance: tolerance, OK: true}
	for _, t := range reference {
		if len(t.Shape) > 0 {
			v.Samples = t.Shape[0]
		}
	}
	for _, d := range ort.Compare(have, reference) {
		c := outputCheck{Name: d.Output, MaxAbs: d.MaxAbs, MaxRel: d.MaxRel, Scale: d.Scale, Problem: d.Mismatch}
		if d.NaN > 0 {
			c.Problem = fmt.Sprintf("%d values are NaN in only one of the two", d.NaN)
		}
		c.OK = c.Problem == "" && d.MaxAbs <= tolerance*math.Max(d.Scale, math.SmallestNonzeroFloat32)
		if math.IsInf(c.MaxAbs, 1) { // not a number in JSON
			c.MaxAbs, c.Problem = math.MaxFloat64, "an infinity in only one of the two"
		}
		v.OK = v.OK && c.OK
		v.Outputs = append(v.Outputs, c)
	}
	return v
}

// largest is the largest absolute difference.
func (v *verification) largest() float64 {
	worst := 0.0
	for _, c := range v.Outputs {
		worst = max(worst, c.MaxAbs)
	}
	return worst
}

// worst describes the output that is farthest off.
func (v *verification) worst() string {
	var worst outputCheck
	for _, c := range v.Outputs {
		if c.Problem != "" {
			return fmt.Sprintf("output %s: %s", c.Name, c.Problem)
		}
		if worst.Name == "" || c.MaxAbs*worst.Scale > worst.MaxAbs*c.Scale {
			worst = c
		}
	}
	return fmt.Sprintf("output %s: largest difference %.2g, of values up to %.3g", worst.Name, worst.MaxAbs, worst.Scale)
}

func (v *verification) text(w io.Writer) {
	fmt.Fprintf(w, "%s against %s, %d samples\n", v.Model, v.Reference, v.Samples)
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "output\tmax abs error\tmax rel error\tlargest value\t")
		for _, c := range v.Outputs {
			verdict := c.Problem
			switch {
			case verdict == "" && c.OK:
				verdict = "agrees"
			case verdict == "":
				verdict = "DIFFERS"
			}
			fmt.Fprintf(w, "%s\t%.3g\t%.3g\t%.3g\t%s\n", c.Name, c.MaxAbs, c.MaxRel, c.Scale, verdict)
		}
	})
	if v.Mask != nil {
		fmt.Fprintf(w, "mask: %d layers, %d weights pruned, %d of them not zero in the file\n", v.Mask.Layers, v.Mask.Pruned, v.Mask.Violated)
	}
}

// verifyCommandOptions are the flags of "unprune verify".
type verifyCommandOptions struct {
	against   string
	input     string
	mask      string
	batch     int
	tolerance float64
}

func verifyCommand(a *app) *cobra.Command {
	var o verifyCommandOptions
	return a.command(spec{
		use: "verify MODEL", group: groupLook, min: 1, max: 1,
		short: "Check a model: ONNX Runtime against the native executor, and the mask's promises",
		long: `Verify computes a model's outputs with the native executor and with ONNX
Runtime on the same inputs and reports, per output, the largest absolute and
relative error. With --against, the native executor's outputs are compared with
those that ONNX Runtime computes from another file. With --mask, every weight
that the mask prunes must be zero in the file. Exit code 3 if anything does not
hold.`,
		example: `  unprune verify forgotten.onnx --mask forgotten.mask.npz
  unprune verify model.onnx --input samples.npz`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.input, "input", "", ".npz `file` with one array per input (default: random numbers)")
			f.StringVar(&o.against, "against", "", "another `model` to compare the outputs with")
			f.StringVar(&o.mask, "mask", "", "mask `file` that the model must keep to")
			f.IntVar(&o.batch, "batch", 8, "samples when there is no --input")
			f.Float64Var(&o.tolerance, "tolerance", defaultTolerance, "largest difference, relative to the largest output")
		},
		run: func(ctx context.Context, args []string) error { return a.verify(ctx, args[0], o) },
	})
}

func (a *app) verify(ctx context.Context, path string, o verifyCommandOptions) error {
	m, err := readFile(path)
	if err != nil {
		return err
	}
	im, err := a.importModel(path, m)
	if err != nil {
		return err
	}
	reference, name := m, path
	if o.against != "" {
		name = o.against
		if reference, err = readFile(o.against); err != nil {
			return fmt.Errorf("--against: %w", err)
		}
	}
	feeds, err := randomFeeds(im.Graph.Inputs, o.batch, data.Stream(a.seed, "verify", "inputs"))
	if o.input != "" {
		feeds, err = readFeeds(o.input, inputNames(m))
	}
	if err != nil {
		return err
	}
	lib, err := a.openRuntime()
	if err != nil {
		return err
	}
	v, err := a.compareExecutors(ctx, reference, im, feeds, o.tolerance)
	if err != nil {
		return err
	}
	v.Model, v.Reference = path, fmt.Sprintf("ONNX Runtime %s on %s", lib.Version, name)
	if o.mask != "" {
		if err := v.addMask(o.mask, im); err != nil {
			return err
		}
	}
	if err := a.print(v, v.text); err != nil {
		return err
	}
	if !v.OK {
		return brokenf("%s does not hold what was promised", path)
	}
	return nil
}

func (v *verification) addMask(path string, im *pass.Model) error {
	masks, err := readMaskFile(path)
	if err != nil {
		return err
	}
	c, err := checkMask(im, masks)
	if err != nil {
		return brokenf("--mask %s: %w", path, err)
	}
	v.Mask, v.OK = &c, v.OK && c.Violated == 0
	return nil
}

// readFeeds reads the inputs of a model from a file; other arrays in it are
// left alone, and a single array needs no name.
func readFeeds(path string, inputs []string) (tensors, error) {
	arrays, err := npz.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--input %s: there is no such file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--input %s: %w", path, err)
	}
	feeds := tensors{}
	for _, name := range inputs {
		t := arrays[name]
		if t == nil && len(inputs) == 1 && len(arrays) == 1 {
			for _, only := range arrays {
				t = only
			}
		}
		if t == nil {
			return nil, fmt.Errorf("--input %s: there is no array %q, an input of the model; there are %v", path, name, slices.Sorted(maps.Keys(arrays)))
		}
		feeds[name] = t
	}
	return feeds, nil
}

// inputNames are the inputs that a model wants to be fed.
func inputNames(m *onnx.Model) []string {
	var names []string
	for _, in := range m.Graph.Inputs {
		if m.Graph.Initializer(in.Name) == nil {
			names = append(names, in.Name)
		}
	}
	return names
}
