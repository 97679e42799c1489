package train

import (
	"context"
	"fmt"
	"sync"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

// While masks are held, units that they zero with everything that makes and
// reads them take no part in training, nor do single weights. Steps are then
// taken by an engine for the network without these units, in which matrices of
// few weights are vectors of those that are kept, and the weights are copied
// into it before each step and back after it, so that the wide network's weights
// are always the live ones. The optimizer's state is copied when somebody else
// needs it.
//
// What the wide network's step would do to the rest is done too: nothing to
// weights, biases, scales and shifts, which are zero, have gradient zero and
// stay zero; running statistics there are those of zeros.

// narrowGain is the share of the products of a forward pass that must go before
// the copying is worth it.
const narrowGain = 0.1

// A narrowing is the engine for what masks leave.
type narrowing struct {
	*Engine
	parts []part
	rest  []rest // elements that are left out, must be zero, and have no mask
	stats []rest // running statistics that are left out
	slots bool   // the optimizer's state is here
}

// A part is a tensor and the piece of it that the narrow network has.
type part struct {
	wide, small *onnx.Tensor
	cut         *cut
	slots       [][2]*onnx.Tensor // of the optimizer: wide, small
}

// A rest lists elements of a tensor.
type rest struct {
	tensor   *onnx.Tensor
	index    []int
	momentum float64 // of statistics
}

// narrow returns the engine that takes steps of so many samples with the masks
// held; nil if the whole network has to.
func (e *Engine) narrow(batch int) (*narrowing, error) {
	if e.masks == nil || e.narrowed != nil || e.decided {
		return e.narrowed, nil
	}
	e.decided = true
	held := e.held()
	if !e.masksUnits() {
		held = nil
	}
	n, err := pass.Narrow(e.model, held)
	if err != nil {
		return nil, err
	}
	if worth, err := e.worth(n); err != nil {
		return nil, err
	} else if !worth {
		if n, err = pass.Narrow(e.model, nil); err != nil {
			return nil, err
		}
	}
	cuts, err := e.cuts(n, batch)
	if err != nil || len(n.Kept) == 0 && len(cuts) == 0 {
		return nil, err
	}
	e.narrowed, err = e.newNarrowing(n, cuts)
	return e.narrowed, err
}

// A matrix is multiplied element by element if at most a share sparseShare of
// them is kept, and it and the batch are large enough. With a quarter kept this
// takes about a third of the time of the dense product. Of convolutions
// ops.SparseConvPays decides.
const (
	sparseShare    = 0.25
	sparseBatch    = 32
	sparseElements = 1 << 10
)

// cuts makes vectors of what is kept of weights with few elements, and returns
// the pieces that the narrow network has of them.
func (e *Engine) cuts(n *pass.Narrowing, batch int) (map[string]*cut, error) {
	cuts := map[string]*cut{}
	shapes := sync.OnceValues(func() (*graph.Graph, error) {
		return pass.Specialise(n.Model.Trunk(), pass.Target{Batch: batch, Keep: e.keep})
	})
	for _, p := range n.Model.Params {
		mask := e.state[autodiff.MaskName(p.Name())]
		if mask == nil || !p.Sparse() || batch < sparseBatch {
			continue
		}
		block := newCut(mask.Shape, n.Kept[p.Name()])
		small := onnx.NewTensor(mask.DType, p.Value.Shape...)
		block.gather(small, mask)
		var kept []int
		for i := range small.Len() {
			if elementAt(small, i) != 0 {
				kept = append(kept, i)
			}
		}
		if size := small.Len(); size < sparseElements || float64(len(kept)) > sparseShare*float64(size) {
			continue
		}
		if ok, err := pays(shapes, p, len(kept)); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		cuts[p.Name()] = block.only(kept)
		if err := n.Model.Sparsen(p, kept); err != nil {
			return nil, err
		}
	}
	return cuts, nil
}

// pays reports whether it is worth to keep so few elements of a weight that Sparsen
// can take; shapes is the network with its shapes known.
func pays(shapes func() (*graph.Graph, error), p *pass.Param, kept int) (bool, error) {
	if p.Node.Op == "Gemm" {
		return true, nil
	}
	g, err := shapes()
	if err != nil {
		return false, err
	}
	v := g.Value(p.Name())
	return v != nil && len(v.Uses()) == 1 && v.Uses()[0].Node.Op == "Conv" && ops.SparseConvPays(v.Uses()[0].Node, kept), nil
}

// masksUnits reports whether a mask prunes a whole slice of a layer: only then
// can a unit go.
func (e *Engine) masksUnits() bool {
	for _, l := range e.layers {
		m := e.masks.Get(l.Name)
		if m == nil {
			continue
		}
		alive := make([]bool, l.Weight.Shape[l.OutAxis])
		inner := onnx.Size(l.Weight.Shape[l.OutAxis+1:])
		for i := range m.Kept() {
			alive[i/inner%len(alive)] = true
		}
		for _, a := range alive {
			if !a {
				return true
			}
		}
	}
	return false
}

// held says which elements are zero and stay so as long as nothing but steps
// changes the engine.
func (e *Engine) held() func(param string, i int) bool {
	type state struct{ mask, weight, slot0, slot1 *onnx.Tensor }
	states := map[string]state{}
	for _, name := range e.params {
		states[name] = state{e.state[autodiff.MaskName(name)], e.state[name], e.state[autodiff.SlotName(name, 0)], e.state[autodiff.SlotName(name, 1)]}
	}
	return func(param string, i int) bool {
		s, trained := states[param]
		if !trained {
			return false
		}
		zero := func(t *onnx.Tensor) bool { return t == nil || elementAt(t, i) == 0 }
		return s.mask != nil && elementAt(s.mask, i) == 0 || zero(s.weight) && zero(s.slot0) && zero(s.slot1)
	}
}

// worth compares the products of both networks.
func (e *Engine) worth(n *pass.Narrowing) (bool, error) {
	count := func(m *pass.Model) (int, error) {
		g, err := pass.Specialise(m.Trunk(), pass.Target{Batch: 1, Keep: e.keep})
		if err != nil {
			return 0, err
		}
		return ops.Products(g), nil
	}
	wide, err := count(e.model)
	if err != nil {
		return false, err
	}
	small, err := count(n.Model)
	return float64(small) <= (1-narrowGain)*float64(wide), err
}

func (e *Engine) newNarrowing(n *pass.Narrowing, cuts map[string]*cut) (*narrowing, error) {
	inner, err := New(n.Model, Options{Compile: e.opt.Compile, Double: e.opt.Double, Batch: e.opt.Batch, Freeze: e.opt.Freeze})
	if err != nil {
		return nil, err
	}
	if err := inner.Optimize(e.optimizer); err != nil {
		return nil, err
	}
	inner.noise = &noise{seed: e.noise.seed, from: n}
	inner.masking = true
	w := &narrowing{Engine: inner}
	for _, name := range e.weights.Names {
		wide, small := e.state[name], inner.state[name]
		if small == nil {
			return nil, fmt.Errorf("train: the network that the masks leave has no %q", name)
		}
		c := cuts[name]
		if c == nil {
			c = newCut(wide.Shape, n.Kept[name])
		}
		p := part{wide: wide, small: small, cut: c}
		for i := range e.optimizer.Slots() {
			if slot := autodiff.SlotName(name, i); e.state[slot] != nil {
				p.slots = append(p.slots, [2]*onnx.Tensor{e.state[slot], inner.state[slot]})
			}
		}
		w.parts = append(w.parts, p)
		mask := e.state[autodiff.MaskName(name)]
		if small := inner.state[autodiff.MaskName(name)]; small != nil {
			c.gather(small, mask)
		}
		w.leaveOut(e, name, c, mask)
	}
	return w, nil
}

// leaveOut notes the elements of a tensor that the narrow network lacks.
func (w *narrowing) leaveOut(e *Engine, name string, c *cut, mask *onnx.Tensor) {
	r := rest{tensor: e.state[name]}
	for _, i := range c.others() {
		if mask == nil || elementAt(mask, i) != 0 {
			r.index = append(r.index, i)
		}
	}
	switch {
	case len(r.index) == 0:
	case e.weights.Stats[name]:
		r.momentum = e.momentum(name)
		w.stats = append(w.stats, r)
	default:
		w.rest = append(w.rest, r)
	}
}

// stepNarrow takes a step with the network that the masks leave. It reports
// false where somebody has written to what that network lacks: the wide network
// has to take the step.
func (e *Engine) stepNarrow(ctx context.Context, w *narrowing, rate float64, terms []unprune.Term) (loss float64, done bool, err error) {
	for _, r := range w.rest {
		for _, i := range r.index {
			if elementAt(r.tensor, i) != 0 {
				e.widen()
				return 0, false, nil
			}
		}
	}
	for i := range w.parts {
		p := &w.parts[i]
		p.cut.gather(p.small, p.wide)
		if !w.slots {
			for _, s := range p.slots {
				p.cut.gather(s[1], s[0])
			}
		}
	}
	w.slots = true
	w.steps, w.noise.draws, w.cost = e.steps, e.noise.draws, e.cost
	loss, err = w.Step(ctx, rate, terms...)
	moved := w.steps > e.steps
	e.steps, e.noise.draws, e.cost = w.steps, w.noise.draws, w.cost
	if !moved {
		return loss, true, err
	}
	for i := range w.parts {
		p := &w.parts[i]
		p.cut.scatter(p.wide, p.small)
	}
	for _, t := range terms {
		if t.Eval {
			continue
		}
		for _, r := range w.stats {
			for _, i := range r.index {
				setElement(r.tensor, i, r.momentum*elementAt(r.tensor, i))
			}
		}
	}
	return loss, true, err
}

// fetchSlots brings the optimizer's state back into the wide network.
func (e *Engine) fetchSlots() {
	w := e.narrowed
	if w == nil || !w.slots {
		return
	}
	for i := range w.parts {
		p := &w.parts[i]
		for _, s := range p.slots {
			fill(s[0], 0)
			p.cut.scatter(s[0], s[1])
		}
	}
	w.slots = false
}

// widen gives up the narrow network until masks or optimizer are set anew.
func (e *Engine) widen() {
	e.fetchSlots()
	e.narrowed = nil
}

// renew lets the next step decide anew.
func (e *Engine) renew() {
	e.widen()
	e.decided = false
}
