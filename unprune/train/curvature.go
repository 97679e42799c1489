package train

import (
	"context"
	"errors"
	"maps"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

var _ unprune.Curvature = (*Engine)(nil)

// What programs compute at a time: samples whose gradients are only multiplied
// with a direction, samples whose gradients are squared, numbers in the gradients
// of single samples, and classes whose gradients are squared. More need more
// memory; fewer transform weights and add to the sums more often.
const (
	dotsBatch     = 128
	squaresBatch  = 128
	sampleNumbers = 1 << 26
	classBatch    = 10
)

// squared is the number of samples whose squared gradients are summed at a time:
// fewer where the gradients of single samples have to be formed, as those of
// products over sequences.
func (e *Engine) squared() int {
	formed := 0
	for _, name := range e.params {
		if p := e.model.Param(name); p.Role != pass.Weight || p.Node.Op != "Conv" && p.Node.Op != "Gemm" {
			formed += e.state[name].Len()
		}
	}
	return min(max(1, sampleNumbers/max(1, formed)), squaresBatch)
}

// second compiles a graph of second-order or per-sample quantities.
func (e *Engine) second(k programKey, make func(*graph.Graph, autodiff.CurvatureOptions) error) (*compiled, error) {
	return e.cached(k, func() (*compiled, error) {
		g, err := e.secondGraph(k, make)
		if err != nil {
			return nil, err
		}
		return e.compile(g, e.state, nil)
	})
}

// secondGraph makes such a graph.
func (e *Engine) secondGraph(k programKey, make func(*graph.Graph, autodiff.CurvatureOptions) error) (*graph.Graph, error) {
	g, err := e.specialise(k)
	if err != nil {
		return nil, err
	}
	o := autodiff.CurvatureOptions{Logits: e.model.Logits.Name, Params: e.params, State: e.statsOf(g)}
	return g, make(g, o)
}

// chunks calls visit with the term's rows, at most size at a time.
func chunks(t unprune.Term, size int, visit func(at int, t unprune.Term) error) error {
	rows := t.Index
	for at := 0; at < len(rows); at += size {
		t.Index = rows[at:min(at+size, len(rows))]
		if err := visit(at, t); err != nil {
			return err
		}
	}
	return nil
}

// samplewise runs a program over samples: many at a time, or one by one if the
// model does not let their gradients be told apart.
func (e *Engine) samplewise(t unprune.Term, batch int, together, alone func(at int, t unprune.Term) error) error {
	err := chunks(t, batch, together)
	if errors.Is(err, autodiff.ErrCoupled) {
		err = chunks(t, 1, alone)
	}
	return err
}

// SampleSquares returns sums over samples of squared gradients.
func (e *Engine) SampleSquares(ctx context.Context, t unprune.Term) (unprune.Vector, error) {
	squares := make(unprune.Vector, e.weights.Params())
	err := e.samplewise(t, e.squared(),
		func(_ int, t unprune.Term) error {
			p, err := e.second(programKey{kind: squaresKind, batch: len(t.Index)}, autodiff.TrainSampleSquares)
			if err != nil {
				return err
			}
			if err := e.runTerm(ctx, p, t); err != nil {
				return err
			}
			e.add(squares, p, autodiff.SquareName)
			return nil
		},
		func(_ int, t unprune.Term) error {
			g, err := e.single(ctx, t)
			for i, x := range g {
				squares[i] += float64(x * x)
			}
			return err
		})
	return squares, err
}

// runTerm runs a program on a term and counts the passes.
func (e *Engine) runTerm(ctx context.Context, p *compiled, t unprune.Term) error {
	if err := e.batch(p, t); err != nil {
		return err
	}
	if err := p.Run(ctx); err != nil {
		return err
	}
	e.count(t)
	return nil
}

// add adds an output per parameter to a vector.
func (e *Engine) add(v unprune.Vector, p *compiled, name func(string) string) {
	for _, part := range e.weights.Parts() {
		if t := p.Output(name(part.Name)); t != nil { // else identically zero
			addTo(part.Of(v), t)
		}
	}
}

// single is the gradient of the loss of the term's rows in inference mode.
func (e *Engine) single(ctx context.Context, t unprune.Term) (unprune.Vector, error) {
	g, err := e.Gradient(ctx, unprune.Term{Data: t.Data, Index: t.Index, Weight: 1, Eval: true})
	if err != nil {
		return nil, err
	}
	return e.weights.Flatten(g), nil
}

// SampleDots returns products of the samples' gradients with directions.
func (e *Engine) SampleDots(ctx context.Context, t unprune.Term, directions ...unprune.Vector) ([][]float64, error) {
	out := make([][]float64, len(directions))
	for i := range out {
		out[i] = make([]float64, len(t.Index))
	}
	err := e.samplewise(t, dotsBatch,
		func(at int, t unprune.Term) error {
			p, err := e.second(programKey{kind: dotsKind, batch: len(t.Index), count: len(directions)},
				func(g *graph.Graph, o autodiff.CurvatureOptions) error {
					return autodiff.TrainSampleDots(g, o, len(directions))
				})
			if err != nil {
				return err
			}
			for i, v := range directions {
				e.direct(p, v, func(param string) string { return autodiff.SampleDirection(i, param) })
			}
			if err := e.runTerm(ctx, p, t); err != nil {
				return err
			}
			for i := range directions {
				dots := p.Output(autodiff.DotsName(i))
				for j := range t.Index {
					out[i][at+j] = elementAt(dots, j)
				}
			}
			return nil
		},
		func(at int, t unprune.Term) error {
			g, err := e.single(ctx, t)
			if err != nil {
				return err
			}
			for i, v := range directions {
				out[i][at] = v.Dot(g)
			}
			return nil
		})
	return out, err
}

// direct writes a vector into a program's direction inputs.
func (e *Engine) direct(p *compiled, v unprune.Vector, name func(param string) string) {
	for _, part := range e.weights.Parts() {
		if in := p.Input(name(part.Name)); in != nil {
			setElements(in, part.Of(v))
		}
	}
}

// ClassSquares returns sums over classes of squared gradients.
func (e *Engine) ClassSquares(ctx context.Context, t unprune.Term) (unprune.Vector, error) {
	total := make(unprune.Vector, e.weights.Params())
	for first := 0; first < e.classes; first += classBatch {
		count := min(classBatch, e.classes-first)
		p, err := e.second(programKey{kind: classesKind, batch: len(t.Index), count: count},
			func(g *graph.Graph, o autodiff.CurvatureOptions) error {
				return autodiff.TrainClassSquares(g, o, count)
			})
		if err != nil {
			return nil, err
		}
		for i := range count {
			onnx.Of[int64](p.Input(autodiff.ClassesName))[i] = int64(first + i)
		}
		if err := e.samples(p, t.Data, t.Index); err != nil {
			return nil, err
		}
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		e.cost.Forward += int64(len(t.Index))
		e.cost.Backward += int64(count * len(t.Index))
		e.add(total, p, autodiff.SquareName)
	}
	return total, nil
}

// Hessian is the Hessian of the term's mean loss, for products. What does not
// depend on the vector, the passes for the gradient, is computed here and once.
func (e *Engine) Hessian(ctx context.Context, t unprune.Term) (unprune.Hessian, error) {
	point, p, err := e.hessian(len(t.Index))
	if err != nil {
		return nil, err
	}
	if err := e.batch(point, t); err != nil {
		return nil, err
	}
	if err := point.Run(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context, v unprune.Vector) (unprune.Vector, error) {
		e.direct(p, v, autodiff.DirectionName)
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		e.cost.HVP += int64(len(t.Index))
		out := make(unprune.Vector, len(v))
		for _, part := range e.weights.Parts() {
			if t := p.Output(autodiff.ProductName(part.Name)); t != nil { // else identically zero
				elementsOf(part.Of(out), t)
			}
		}
		return out, nil
	}, nil
}

// hessian compiles what Hessian-vector products of a batch share, and a product.
func (e *Engine) hessian(batch int) (point, product *compiled, err error) {
	k := programKey{kind: hvpKind, batch: batch}
	point, err = e.cached(programKey{kind: pointKind, batch: batch}, func() (*compiled, error) {
		g, err := e.secondGraph(k, autodiff.TrainHVP)
		if err != nil {
			return nil, err
		}
		var directions []string
		for _, name := range e.params {
			directions = append(directions, autodiff.DirectionName(name))
		}
		first, rest, err := pass.Split(g, directions)
		if err != nil {
			return nil, err
		}
		point, err := e.compile(first, e.state, nil)
		if err != nil {
			return nil, err
		}
		state := maps.Clone(e.state)
		for _, v := range first.Inputs {
			state[v.Name] = point.Input(v.Name)
		}
		for _, v := range first.Outputs {
			state[v.Name] = point.Output(v.Name)
		}
		e.programs[k], err = e.compile(rest, state, nil)
		return point, err
	})
	return point, e.programs[k], err
}
