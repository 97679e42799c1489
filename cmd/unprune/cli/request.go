package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// requestOptions describe a deletion request: what run, unlearn and retrain
// have in common.
type requestOptions struct {
	data   dataOptions
	recipe recipeOptions

	initial string          // theta_0
	drawn   *trainingRecord // of a training that drew theta_0 itself; nil: see initial
	dense   string          // theta_d
	output  string          // -o
	maskOut string
	sparse  bool

	compactOut string // --compact-out
	verify     verifyOptions
	journal    *journalOptions // nil for commands that cannot resume
}

func (o *requestOptions) addData(f *pflag.FlagSet) {
	f.StringVar(&o.initial, "initial", "", "`model` with the weights before training (theta_0), exported in the same way")
	f.StringVar(&o.dense, "dense", "", "`model` with the weights after training, before pruning (theta_d), if there is one")
	o.data.addTrain(f)
	o.data.addTest(f)
	o.data.addForget(f)
	o.data.addNormalize(f)
}

func (o *requestOptions) addOutput(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", "output `file`, ONNX")
	f.BoolVar(&o.sparse, "sparse", false, "write weights below a third of density as sparse initializers")
	f.StringVar(&o.maskOut, "mask-out", "", "write the mask to this .npz `file`")
	f.StringVar(&o.compactOut, "compact-out", "", "also write the model without the units that pruning has emptied, to this `file` (for a model that came so: beside the output, unless set)")
	o.verify.add(f)
}

// addResume lets the command go on after it was killed.
func (o *requestOptions) addResume(f *pflag.FlagSet) {
	o.journal = &journalOptions{}
	o.journal.add(f)
}

// knowsInitial reports whether theta_0 is given or can be drawn again.
func (o *requestOptions) knowsInitial() bool { return o.initial != "" || o.drawn != nil }

// A request is a deletion request, ready to be answered.
type request struct {
	opt     *requestOptions
	path    string
	im      *pass.Model
	narrow  bool // the file is narrower than im
	engine  *train.Engine
	problem *unprune.Problem
	test    *data.Dataset // nil if not given
	journal *journal      // nil for commands that cannot resume
}

// needs says what a command cannot do without.
type needs struct{ train, forget bool }

// open reads everything that a request names and checks that it fits
// together, before anything is computed.
func (o *requestOptions) open(a *app, path string, n needs) (*request, error) {
	if o.data.train == "" && n.train {
		return nil, usagef("--train is missing: give the data that the model was trained with")
	}
	if o.data.forget == "" && n.forget {
		return nil, usagef("--forget is missing: say what to forget, such as class:3, random:0.1 or a file of sample indices")
	}
	if err := checkWritable(o.output, o.maskOut, o.compactOut); err != nil {
		return nil, err
	}
	if err := o.recipe.check(); err != nil {
		return nil, err
	}
	if o.data.train != "" {
		o.recipe.adopt(a, path)
	}
	im, narrow, err := a.readWide(path, o)
	if err != nil {
		return nil, err
	}
	e, err := a.newEngine(path, im)
	if err != nil {
		return nil, err
	}
	r := &request{opt: o, path: path, im: im, narrow: narrow, engine: e, problem: &unprune.Problem{Engine: e, Seed: a.seed, Progress: a.bars.report, Warning: a.warn}}
	if err := r.loadData(a); err != nil {
		return nil, err
	}
	if err := r.loadWeights(a); err != nil {
		return nil, err
	}
	if o.journal == nil {
		return r, nil
	}
	if r.journal, err = a.openJournal(o.output, *o.journal); err != nil {
		return nil, err
	}
	r.problem.Journal = r.journal
	return r, nil
}

func (r *request) loadData(a *app) error {
	sample, err := sampleShape(r.im)
	if err != nil {
		return fmt.Errorf("model %s: %w", r.path, err)
	}
	o, p := &r.opt.data, r.problem
	if p.Train, err = o.load(o.train, data.Train, sample, r.engine.Classes()); err != nil {
		return err
	}
	if r.test, err = o.load(o.test, data.Test, sample, r.engine.Classes()); err != nil {
		return err
	}
	switch {
	case p.Train == nil:
	case o.forget == "":
		gone, err := o.gone(p.Train, a.seed)
		if err != nil {
			return err
		}
		p.Train, _ = leaveOut(p.Train, gone, nil)
		p.Retain = data.Complement(p.Train.Len(), nil)
	default:
		_, forget, err := o.selectForget(p.Train, a.seed)
		if err != nil {
			return err
		}
		gone, err := o.gone(p.Train, a.seed)
		if err != nil {
			return err
		}
		p.Train, p.Forget = leaveOut(p.Train, gone, forget)
		p.Retain = data.Complement(p.Train.Len(), p.Forget)
		a.log.Info(fmt.Sprintf("%d training samples, %d to forget, %d to keep", p.Train.Len(), len(p.Forget), len(p.Retain)))
	}
	return nil
}

func (r *request) loadWeights(a *app) (err error) {
	p, layers := r.problem, r.engine.Layers()
	var masks *sparsity.Masks
	if p.Recipe, masks, err = r.opt.recipe.recipe(a, r.im, layers); err != nil {
		return err
	}
	if r.opt.initial != "" {
		if p.Theta0, err = a.otherWeights("initial", r.opt.initial, r.im, r.engine); err != nil {
			return err
		}
		if err := a.checkInitial(r.opt.initial, p.Theta0, layers); err != nil {
			return err
		}
	}
	if r.opt.initial == "" && r.opt.drawn != nil {
		p.Theta0 = r.drawInitial(r.opt.drawn.order.Seed)
		if err := a.checkInitial(r.opt.drawn.path, p.Theta0, layers); err != nil {
			return err
		}
	}
	if r.opt.dense != "" {
		if p.Dense, err = a.otherWeights("dense", r.opt.dense, r.im, r.engine); err != nil {
			return err
		}
	}
	p.Original = unprune.Result{Weights: r.engine.Weights().Clone(), Masks: masks}
	return r.engine.SetMasks(masks)
}

// needPruned refuses models without a zero, for commands that work on a mask.
func (r *request) needPruned() error {
	if r.problem.Original.Masks.Count() == r.problem.Original.Masks.Len() {
		return fmt.Errorf("model %s is not pruned: no weight is zero; prune it first (unprune prune)", r.path)
	}
	return nil
}

// export writes a result, its mask and the run file, and verifies what lies on
// disk.
func (r *request) export(ctx context.Context, a *app, res *unprune.Result) (written, error) {
	w, err := r.exportModel(ctx, a, res)
	if err != nil {
		return w, err
	}
	if err := a.writeRunFile(runFileBeside(r.opt.output)); err != nil {
		return w, err
	}
	if r.journal != nil {
		return w, r.journal.done()
	}
	return w, nil
}

// exportModel writes a result and its mask, and verifies what lies on disk.
func (r *request) exportModel(ctx context.Context, a *app, res *unprune.Result) (written, error) {
	if err := r.problem.Load(res); err != nil {
		return written{}, err
	}
	r.engine.Export()
	if err := writeModel(r.opt.output, r.im, res.Masks, r.opt.sparse); err != nil {
		return written{}, err
	}
	if err := r.opt.writeMasks(res.Masks); err != nil {
		return written{}, err
	}
	samples := r.test
	if samples == nil {
		samples = r.problem.Train // which may be nil too
	}
	w, err := r.opt.verify.check(ctx, a, r.opt.output, res.Masks, samples)
	if to := r.opt.compactPath(r.narrow); err == nil && to != "" {
		err = a.writeCompact(ctx, r.opt.output, to)
	}
	return w, err
}

func (o *requestOptions) writeMasks(masks *sparsity.Masks) error {
	if o.maskOut == "" {
		return nil
	}
	return writeMaskFile(o.maskOut, masks, o.output)
}

// writeModel writes the network with the engine's weights, sparse where that
// is asked for and pays.
func writeModel(path string, im *pass.Model, masks *sparsity.Masks, sparse bool) error {
	m, err := im.ToONNX()
	if err != nil {
		return err
	}
	if sparse {
		toSparse(m, func(t *onnx.Tensor) bool {
			mask := masks.Get(t.Name)
			return mask != nil && mask.Density() < sparsePays
		})
	}
	return onnx.Write(path, m, onnx.WriteOptions{})
}
