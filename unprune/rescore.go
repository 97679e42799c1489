package unprune

import (
	"context"
	"fmt"
	"maps"
	"math"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// Blend is mask rescoring: the new mask is the top k, per pruning group, of
//
//	score = |w| / mean of its top k  +  C · |x| / mean of its top k
//
// where w are the original's weights and x = theta_0 + g·(s - theta_0) is a
// short dense run s from theta_0 on the retained data, extrapolated to the
// length of the original one: per tensor g = ‖theta_d - theta_0‖/‖s -
// theta_0‖, theta_d the dense weights before pruning. Where theta_d is known
// it is w and C is 1.5; where it is not, w are the pruned weights, C is 3 and
// g is 1.5. Then added weights start at s, dropped ones at 0, kept weights
// and all other parameters at theta_0 + Keep·(theta - theta_0), and the
// unlearner finishes with the new mask held fixed.
//
// With iterative pruning (LTH, rewinding) the rule has two stages: the short
// run chooses 4k candidates, a second one from theta_0 restricted to them
// scores.
type Blend struct {
	C      float64 // weight of the short run; 0: 1.5 with theta_d, else 3
	Epochs int     // of the short run; 0: max(2, 10 % of the recipe's)
	Keep   float64 // 0: 0.75

	// Classes, deleted as a whole, lose the |w| term in their output rows: what
	// the new mask keeps there is then decided by retained data alone.
	Classes []int

	Finish   Unlearner // with the new mask held fixed
	Tune     int       // epochs of the finish; 0: 4
	TuneRate float64   // its peak rate; 0: the recipe's peak for fine-tuning, else the unlearner's own

	Rows     []int // that the short run trains on; nil: the retained ones
	MaskOnly bool  // stop when the mask is chosen
}

// short describes the run from theta_0 that scores.
type short struct {
	weights *Weights
	gain    map[string]float64 // g per weight tensor
}

// minGain is the guard: a short run that travels farther than the original
// did has blown up. The network as a whole is looked at; a single small layer
// that travels far is no blow-up, and repeating the run for its sake costs
// passes and some overlap (LeNet-5: IoU .302 without, .281 with the repeat).
const minGain = 0.9

// Rescore chooses a new mask for the problem's original and finishes with it.
func (p *Problem) Rescore(ctx context.Context, b Blend) (*Result, error) {
	if p.Theta0 == nil {
		return nil, fmt.Errorf("unprune: rescoring needs the initial weights (theta_0); give them, or use --rescore magnitude")
	}
	b.defaults(p)
	if p.Recipe.Pruner.Unit() != sparsity.Weight && p.Dense == nil {
		return nil, fmt.Errorf("unprune: rescoring filters needs the dense weights before pruning: a pruned filter carries no evidence")
	}
	return p.measure(func() (*sparsity.Masks, error) {
		s, err := p.shortRun(ctx, b)
		if err != nil {
			return nil, err
		}
		masks, start, err := p.rescored(ctx, b, s)
		if err != nil {
			return nil, err
		}
		if b.MaskOnly {
			return masks, nil
		}
		if err := p.restart(b.Keep, masks, start); err != nil {
			return nil, err
		}
		return masks, p.finish(ctx, b.Finish, "un-pruned", b.Tune, b.TuneRate)
	})
}

func (b *Blend) defaults(p *Problem) {
	if b.C == 0 {
		b.C = 3
		if p.Dense != nil {
			b.C = 1.5
		}
	}
	if b.Epochs == 0 {
		b.Epochs = p.ShortEpochs()
	}
	if b.Keep == 0 {
		b.Keep = 0.75
	}
	if b.Tune == 0 {
		b.Tune = 4
	}
	if b.TuneRate == 0 && (b.Finish == nil || b.Finish.Name() == "ft") {
		b.TuneRate = p.Recipe.Rate
	}
	if b.Rows == nil {
		b.Rows = p.Retain
	}
}

// ShortEpochs is the length of a short run from theta_0: a tenth of the
// original's, two epochs at least.
func (p *Problem) ShortEpochs() int {
	return max(2, int(math.Round(0.1*float64(p.Recipe.Epochs))))
}

// iterative pruning rewinds, and theta_d misleads there.
func (p *Problem) iterative() bool { return p.Recipe.Rounds > 1 }

// shortRun trains the dense network from theta_0 at the constant peak rate. A
// run that blows up is repeated at half the rate, three times at most.
func (p *Problem) shortRun(ctx context.Context, b Blend) (*short, error) {
	epochs := b.Epochs
	if p.iterative() {
		epochs = 2
	}
	for rate := p.Recipe.Rate; rate >= p.Recipe.Rate/8; rate /= 2 {
		err := p.dense(ctx, nil, b.Rows, epochs, Constant(rate), "short run", "rescore")
		var blown *DivergedError
		if err != nil && !asDiverged(err, &blown) {
			return nil, err
		}
		if err != nil {
			continue
		}
		s := &short{weights: p.Engine.Weights().Clone(), gain: map[string]float64{}}
		if p.gains(s) >= minGain {
			return s, nil
		}
	}
	return nil, fmt.Errorf("unprune: the short run from theta_0 diverges at learning rate %g and at an eighth of it; lower the recipe's rate", p.Recipe.Rate)
}

// gains fills in g per weight tensor and returns that of all of them together,
// infinite where theta_d is not known.
func (p *Problem) gains(s *short) float64 {
	wanted, travelled := 0.0, 0.0 // squared distances from theta_0
	for _, l := range p.Engine.Layers() {
		s.gain[l.Name] = 1.5
		switch {
		case p.iterative():
			s.gain[l.Name] = 1
		case p.Dense != nil:
			w := squaredDistance(p.Dense.Tensors[l.Name], p.Theta0.Tensors[l.Name])
			t := squaredDistance(s.weights.Tensors[l.Name], p.Theta0.Tensors[l.Name])
			s.gain[l.Name] = math.Sqrt(w / t)
			if t == 0 {
				s.gain[l.Name] = 1
			}
			wanted, travelled = wanted+w, travelled+t
		}
	}
	if travelled == 0 {
		return math.Inf(1)
	}
	return math.Sqrt(wanted / travelled)
}

// rescored returns the new masks and the weights that added positions start
// from.
func (p *Problem) rescored(ctx context.Context, b Blend, s *short) (*sparsity.Masks, *Weights, error) {
	if p.iterative() {
		return p.twoStage(ctx, b, s)
	}
	w := p.Original.Weights
	if p.Dense != nil {
		w = p.Dense
	}
	old, err := p.withoutRows(w.Tensors, b.Classes)
	if err != nil {
		return nil, nil, err
	}
	scores, target, err := p.blended(old, p.extrapolated(s), b.C)
	if err != nil {
		return nil, nil, err
	}
	masks, err := sparsity.Cut(scores, target)
	return masks, s.weights, err
}

// extrapolated is x = theta_0 + g·(s - theta_0) per weight tensor, and s for
// other parameters.
func (p *Problem) extrapolated(s *short) map[string]*onnx.Tensor {
	out := maps.Clone(s.weights.Tensors)
	for _, l := range p.Engine.Layers() {
		t0, ts, g := p.Theta0.Tensors[l.Name], s.weights.Tensors[l.Name], s.gain[l.Name]
		x := onnx.NewTensor(ts.DType, ts.Shape...)
		for i := range x.Len() {
			set(x, i, at(t0, i)+g*(at(ts, i)-at(t0, i)))
		}
		out[l.Name] = x
	}
	return out
}

// blended scores units by |w|/mean + c·|x|/mean, the means over the top k of
// each pruning group, k the number the original keeps there.
func (p *Problem) blended(w, x map[string]*onnx.Tensor, c float64) ([]sparsity.Scores, sparsity.Target, error) {
	layers, pruner := p.prunable(), p.Recipe.Pruner
	a, err := unitScores(pruner, layers, w)
	if err != nil {
		return nil, sparsity.Target{}, err
	}
	e, err := unitScores(pruner, layers, x)
	if err != nil {
		return nil, sparsity.Target{}, err
	}
	target := sparsity.TargetOf(a, pruner.Scope(), p.Original.Masks)
	scaleA, scaleE := scales(a, target), scales(e, target)
	for i := range a {
		for j := range a[i].Values {
			a[i].Values[j] = a[i].Values[j]*scaleA[i] + c*e[i].Values[j]*scaleE[i]
		}
	}
	return a, target, nil
}

// scales is, per layer, one over the mean of the top k of its group.
func scales(scores []sparsity.Scores, t sparsity.Target) []float64 {
	out := make([]float64, len(scores))
	inverse := func(values []float64, k int) float64 {
		if m := sparsity.MeanTopK(values, k); m > 0 {
			return 1 / m
		}
		return 0
	}
	if t.Scope == sparsity.Global {
		var all []float64
		for _, s := range scores {
			all = append(all, s.Values...)
		}
		g := inverse(all, t.Keep[0])
		for i := range out {
			out[i] = g
		}
		return out
	}
	for i, k := range t.PerLayer(scores) {
		out[i] = inverse(scores[i].Values, k)
	}
	return out
}

// withoutRows is w with the output rows of deleted classes set to zero, so
// that their score is the short run's alone.
func (p *Problem) withoutRows(w map[string]*onnx.Tensor, classes []int) (map[string]*onnx.Tensor, error) {
	if len(classes) == 0 {
		return w, nil
	}
	layers := p.Engine.Layers()
	last := layers[len(layers)-1]
	t := w[last.Name]
	rows := onnx.NewTensor(t.DType, t.Shape...)
	copyElements(rows, t)
	for _, class := range classes {
		if class < 0 || class >= last.Units(sparsity.Filter) {
			return nil, fmt.Errorf("unprune: class %d has no row in %q", class, last.Name)
		}
		for i := range last.Indices(sparsity.Filter, class) {
			set(rows, i, 0)
		}
	}
	out := maps.Clone(w)
	out[last.Name] = rows
	return out, nil
}

// twoStage rescores a network that was pruned with rewinding: candidates from
// |w| + 2|s|, then |w| + 3|y|, y a run of three epochs from theta_0 within
// the candidates.
func (p *Problem) twoStage(ctx context.Context, b Blend, s *short) (*sparsity.Masks, *Weights, error) {
	w := p.Original.Weights.Tensors
	scores, target, err := p.blended(w, s.weights.Tensors, 2)
	if err != nil {
		return nil, nil, err
	}
	candidates, err := sparsity.Cut(scores, target.Times(4, scores))
	if err != nil {
		return nil, nil, err
	}
	if err := p.dense(ctx, candidates, b.Rows, 3, Constant(p.Recipe.Rate), "candidates", "rescore 2"); err != nil {
		return nil, nil, err
	}
	y := p.Engine.Weights().Clone()
	scores, target, err = p.blended(w, y.Tensors, 3)
	if err != nil {
		return nil, nil, err
	}
	masks, err := sparsity.Cut(scores, target)
	return masks, y, err
}

// restart sets the weights that the finish begins with.
func (p *Problem) restart(keep float64, masks *sparsity.Masks, added *Weights) error {
	if err := p.rewindTo(keep); err != nil {
		return err
	}
	w := p.Engine.Weights()
	for name, m := range masks.All() {
		old := p.Original.Masks.Get(name)
		for i := range m.AndNot(old).Kept() {
			set(w.Tensors[name], i, at(added.Tensors[name], i))
		}
	}
	if err := follow(p.Recipe.Pruner, p.Engine, p.Original.Masks, masks, added); err != nil {
		return err
	}
	return p.Engine.SetMasks(masks)
}

// rewindTo loads theta_0 + a·(theta - theta_0), theta the original's weights.
// Running statistics are the original's.
func (p *Problem) rewindTo(a float64) error {
	if err := p.Engine.SetMasks(nil); err != nil {
		return err
	}
	w := p.Engine.Weights()
	if err := w.Set(p.Original.Weights); err != nil {
		return err
	}
	for _, name := range w.Names {
		if w.Stats[name] {
			continue
		}
		t, t0 := w.Tensors[name], p.Theta0.Tensors[name]
		for i := range t.Len() {
			x0 := at(t0, i)
			set(t, i, x0+a*(at(t, i)-x0))
		}
	}
	return nil
}

func squaredDistance(a, b *onnx.Tensor) float64 {
	sum := 0.0
	for i := range a.Len() {
		d := at(a, i) - at(b, i)
		sum += float64(d * d)
	}
	return sum
}
