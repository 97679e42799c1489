package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// A Program is a compiled graph. Inputs are written into the tensors that
// Input returns; outputs are read from those of Output, valid until the next
// run. For runs a body for parts 0 to parts-1 on the program's threads.
type Program interface {
	Input(name string) *onnx.Tensor
	Output(name string) *onnx.Tensor
	Run(ctx context.Context) error
	For(parts int, body func(part int))
}

// Compile makes a program of a graph whose extents are known. state gives
// memory to inputs by name; into names, for outputs that are the new value of
// an input, that input.
type Compile func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (Program, error)

// Options of New.
type Options struct {
	Compile Compile // the executor
	Double  bool    // compute in float64
	Batch   int     // samples per inference run; 0: 256
	Seed    uint64  // of dropout
	Freeze  func(param string) bool
}

// An Engine implements unprune.Engine.
type Engine struct {
	opt     Options
	model   *pass.Model
	trunk   *graph.Graph
	weights *unprune.Weights
	layers  []sparsity.Layer
	params  []string // trainable
	stats   []string
	keep    map[string]bool

	state     map[string]*onnx.Tensor // weights, masks, optimizer slots, gradient sums
	masks     *sparsity.Masks
	masking   bool       // some masks may have zeros
	narrowed  *narrowing // takes the steps while masks are held; nil: the whole network does
	decided   bool       // whether narrowed is nil for good
	optimizer ops.Optimizer
	steps     int
	programs  map[programKey]*compiled
	classes   int
	noise     *noise
	gathered  gathering
	labels    []int64 // of the batch gathered last
	cost      evalmetrics.Cost
}

var _ unprune.Engine = (*Engine)(nil)

// New returns an engine for an imported model. The engine works on copies: the
// model's tensors stay as they are until Export writes the weights back.
func New(m *pass.Model, o Options) (*Engine, error) {
	if o.Batch == 0 {
		o.Batch = 256
	}
	e := &Engine{
		opt: o, model: m, trunk: m.Trunk(),
		weights: unprune.NewWeights(), keep: map[string]bool{},
		state: map[string]*onnx.Tensor{}, programs: map[programKey]*compiled{},
		noise: newNoise(o.Seed),
	}
	e.gathered.copy = e.copyPart
	if len(e.trunk.Inputs) != 1 {
		return nil, fmt.Errorf("train: the model has %d inputs; training needs one, the samples", len(e.trunk.Inputs))
	}
	if o.Double {
		e.trunk = pass.Double(e.trunk)
	}
	for _, p := range m.Params {
		if v := e.trunk.Value(p.Name()); v != nil && v.Const != nil {
			e.addParam(p, v)
		}
	}
	if len(e.params) == 0 {
		return nil, fmt.Errorf("train: the model has no parameter that can be trained")
	}
	if err := e.Optimize(ops.Optimizer{Kind: "sgd"}); err != nil {
		return nil, err
	}
	return e, e.findClasses()
}

// addParam takes a parameter into the engine's own memory.
func (e *Engine) addParam(p *pass.Param, v *graph.Value) {
	if !p.Trainable && !p.State() {
		return
	}
	if p.Trainable && e.opt.Freeze != nil && e.opt.Freeze(p.Name()) {
		return
	}
	t := onnx.NewTensor(v.DType, v.Shape...)
	t.Name = p.Name()
	copyElements(t, v.Const)
	e.weights.Add(p.Name(), t, p.State())
	e.state[p.Name()] = t
	e.keep[p.Name()] = true
	if p.State() {
		e.stats = append(e.stats, p.Name())
		return
	}
	e.params = append(e.params, p.Name())
	if p.Role == pass.Weight {
		e.layers = append(e.layers, sparsity.Layer{Name: p.Name(), Weight: t, OutAxis: p.OutAxis, InAxis: p.InAxis})
		mask := onnx.NewTensor(v.DType, v.Shape...)
		fill(mask, 1)
		e.state[autodiff.MaskName(p.Name())] = mask
	}
}

// findClasses learns the number of classes from the shape of the logits.
func (e *Engine) findClasses() error {
	p, err := e.forward(1)
	if err != nil {
		return err
	}
	out := p.Output(e.model.Logits.Name)
	if len(out.Shape) != 2 {
		return fmt.Errorf("train: the model's output has shape %v; a classifier's is [batch classes]", out.Shape)
	}
	e.classes = out.Shape[1]
	return nil
}

// Classes is the number of classes of the model's output.
func (e *Engine) Classes() int { return e.classes }

// Weights is the live state of the network.
func (e *Engine) Weights() *unprune.Weights { return e.weights }

// Layers are the weight tensors that pruners look at.
func (e *Engine) Layers() []sparsity.Layer { return e.layers }

// Cost is what was computed so far.
func (e *Engine) Cost() evalmetrics.Cost { return e.cost }

// Masks are the masks that are held.
func (e *Engine) Masks() *sparsity.Masks { return e.masks }

// SetMasks holds weights at zero from now on; nil frees all of them.
func (e *Engine) SetMasks(masks *sparsity.Masks) error {
	e.renew()
	e.masks, e.masking = masks, masks != nil
	for _, l := range e.layers {
		t := e.state[autodiff.MaskName(l.Name)]
		fill(t, 1)
		if masks == nil {
			continue
		}
		if m := masks.Get(l.Name); m != nil {
			if err := m.Apply(t); err != nil {
				return err
			}
		}
	}
	return e.Mask()
}

// Mask zeroes the weights that the masks prune.
func (e *Engine) Mask() error {
	if e.masks == nil {
		return nil
	}
	return e.masks.Apply(e.layers)
}

// Optimize chooses the update rule and clears its state.
func (e *Engine) Optimize(o ops.Optimizer) error {
	if err := o.Check(); err != nil {
		return err
	}
	e.renew()
	if o != e.optimizer {
		e.forget(stepKind, updateKind)
	}
	e.optimizer, e.steps = o, 0
	for _, name := range e.params {
		w := e.state[name]
		for i := range 2 {
			slot := autodiff.SlotName(name, i)
			switch t := e.state[slot]; {
			case i >= o.Slots():
				delete(e.state, slot)
			case t == nil:
				e.state[slot] = onnx.NewTensor(w.DType, w.Shape...)
			default:
				fill(t, 0)
			}
		}
	}
	return nil
}

// partElements is what a thread should at least copy of a batch.
const partElements = 4 << 10

// A gathering is some rows of the data on their way into a program's input.
type gathering struct {
	data  *data.Dataset
	index []int
	input *onnx.Tensor
	rows  int // of a part
	copy  func(part int)
}

// samples gathers rows of the data into a program's input.
func (e *Engine) samples(p *compiled, d *data.Dataset, index []int) error {
	in, size := p.Input(e.trunk.Inputs[0].Name), onnx.Size(d.SampleShape())
	if in.Len() != len(index)*size {
		return fmt.Errorf("train: a sample of the data has shape %v, the model's input takes %v", d.SampleShape(), in.Shape[1:])
	}
	if in.DType != onnx.Float32 && in.DType != onnx.Float64 {
		return fmt.Errorf("train: the model's input is of type %v; float32 is supported", in.DType)
	}
	e.labels = slices.Grow(e.labels[:0], len(index))[:len(index)]
	b := &e.gathered
	b.data, b.index, b.input, b.rows = d, index, in, 1+partElements/max(size, 1)
	p.For((len(index)+b.rows-1)/b.rows, b.copy)
	b.data, b.index, b.input = nil, nil, nil
	return nil
}

// copyPart copies some samples of the batch and their labels.
func (e *Engine) copyPart(part int) {
	b := &e.gathered
	from, to := part*b.rows, min((part+1)*b.rows, len(b.index))
	size := b.input.Len() / len(b.index)
	switch x := b.input.Data.(type) {
	case []float32:
		data.Gather(b.data, b.index[from:to], x[from*size:to*size], e.labels[from:to])
	case []float64:
		data.Gather(b.data, b.index[from:to], x[from*size:to*size], e.labels[from:to])
	}
}

// Logits returns the outputs of the network in inference mode.
func (e *Engine) Logits(ctx context.Context, d *data.Dataset, index []int) ([]float64, error) {
	out := make([]float64, 0, len(index)*e.classes)
	for start := 0; start < len(index); start += e.opt.Batch {
		rows := index[start:min(start+e.opt.Batch, len(index))]
		p, err := e.forward(len(rows))
		if err != nil {
			return nil, err
		}
		if err := e.samples(p, d, rows); err != nil {
			return nil, err
		}
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		t := p.Output(e.model.Logits.Name)
		for i := range t.Len() {
			out = append(out, elementAt(t, i))
		}
	}
	e.cost.Forward += int64(len(index))
	return out, nil
}

// Recalibrate replaces the running statistics by means over batches.
func (e *Engine) Recalibrate(ctx context.Context, d *data.Dataset, index []int, batch int) error {
	if len(e.stats) == 0 {
		return nil
	}
	sums := map[string][]float64{}
	batches := 0
	for start := 0; start < len(index); start += batch {
		rows := index[start:min(start+batch, len(index))]
		p, err := e.statistics(len(rows))
		if err != nil {
			return err
		}
		if err := e.samples(p, d, rows); err != nil {
			return err
		}
		e.noise.draw(p)
		if err := p.Run(ctx); err != nil {
			return err
		}
		batches++
		for _, name := range e.stats {
			t := p.Output(pass.NewValue(name))
			if sums[name] == nil {
				sums[name] = make([]float64, t.Len())
			}
			for i := range sums[name] {
				sums[name][i] += elementAt(t, i)
			}
		}
	}
	e.cost.Forward += int64(len(index))
	for name, sum := range sums {
		// The programs started from statistics of zero: each result is
		// (1-momentum) times the batch's.
		scale := 1 / (float64(batches) * (1 - e.momentum(name)))
		for i, s := range sum {
			setElement(e.state[name], i, s*scale)
		}
	}
	return nil
}

// momentum is the share of the old running statistic that a step keeps, in
// ONNX's convention.
func (e *Engine) momentum(stat string) float64 {
	return e.model.Param(stat).Node.Float("momentum", 0.9)
}

// Export writes the weights into the model's graph, as float32; the model's
// ToONNX rounds those that its file has in half precision.
func (e *Engine) Export() {
	for _, name := range e.weights.Names {
		p := e.model.Param(name)
		t := onnx.NewTensor(p.Value.DType, p.Value.Shape...)
		t.Name = name
		copyElements(t, e.state[name])
		p.Value.Const = t
	}
}
