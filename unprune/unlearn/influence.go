package unlearn

import (
	"context"
	"fmt"
	"math"

	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

// Influence (IU) takes one step against the influence of the forgotten data,
// eval mode (Jia et al. 2023, Unlearn-Sparse Wfisher.py; SparseModels
// woodfisher.py). With the mean gradients ḡ of both sets and ρ = n_f/n,
//
//	v = ρ·(ḡ_f - ḡ_r),   θ ← θ + Alpha·F⁻¹v,   F = Damping·I + (1/N) Σ_i g_i·g_iᵀ
//
// over Memory retained samples, by the formula of Sherman, Morrison and Woodbury:
// with the g_i the rows of G,
//
//	F⁻¹v = (v - Gᵀ(Damping·N·I + G·Gᵀ)⁻¹G·v)/Damping
//
// Reference is the recursion of the published code instead. There o stays
// parallel to the first gradient g_0, so that the result is v - c·g_0: two
// products per retained batch, no update of vectors. It ends after the batch
// with index N+1.
//
// Defaults: alpha 1 (to be scanned), N 1000, damping 1, memory 256. The batch
// size is the method's own: it takes no optimizer steps.
type Influence struct {
	Alpha     float64 // 0: 1
	N         int     // 0: 1000
	Damping   float64 // F_0; 0: 1
	Memory    int     // gradients that are kept; 0: 256, less where memory does not suffice
	Batch     int     // retained samples per g_i; 0: 1
	Reference bool
}

// gradientMemory bounds the numbers in the gradients that are kept.
const gradientMemory = 1 << 29

// Name is "iu".
func (Influence) Name() string { return "iu" }

// Needs both sets and gradients of single samples.
func (Influence) Needs() unprune.Needs {
	return unprune.NeedsForget | unprune.NeedsRetain | unprune.NeedsCurvature
}

// Unlearn takes the step.
func (u Influence) Unlearn(ctx context.Context, t *unprune.Task) error {
	e, err := curvature(t, u.Name())
	if err != nil {
		return err
	}
	v, err := u.influence(ctx, t)
	if err != nil {
		return err
	}
	rows := t.Stream("order").Order(t.Retain)
	var k unprune.Vector
	if u.Reference {
		k, err = u.recursion(ctx, e, t, rows, v)
	} else {
		k, err = u.inverse(ctx, t, rows, v)
	}
	if err != nil {
		return fmt.Errorf("unlearn: iu: %w", err)
	}
	theta := e.Weights().Vector()
	theta.Axpy(or(u.Alpha, 1), k)
	return settle(t, u.Name(), theta)
}

// influence is v.
func (u Influence) influence(ctx context.Context, t *unprune.Task) (unprune.Vector, error) {
	forget, err := meanGradient(ctx, t, t.Forget, 256)
	if err != nil {
		return nil, err
	}
	retain, err := meanGradient(ctx, t, t.Retain, 256)
	if err != nil {
		return nil, err
	}
	forget.Axpy(-1, retain)
	forget.Scale(float64(len(t.Forget)) / float64(len(t.Forget)+len(t.Retain)))
	return forget, nil
}

// recursion is the published code's: k = v - c·g_0, o = s·g_0.
func (u Influence) recursion(ctx context.Context, e unprune.Curvature, t *unprune.Task, rows []int, v unprune.Vector) (unprune.Vector, error) {
	batch, n := or(u.Batch, 1), float64(or(u.N, 1000))
	batches := unprune.Batches(rows[:max(1, min(len(rows), batch*(int(n)+2)))], batch)
	g0, err := meanGradient(ctx, t, batches[0], batch)
	if err != nil {
		return nil, err
	}
	s, c := 1.0, 0.0
	const group = 256 // batches between reports
	for at := 1; at < len(batches); at += group {
		end := min(at+group, len(batches))
		along, err := batchDots(ctx, e, t, batches[at:end], g0, v)
		if err != nil {
			return nil, err
		}
		for i := range end - at {
			a, b := along[0][i], along[1][i]
			o := s * a
			c += (b - c*a) / (n + o) * s
			s -= o / (n + o) * s
		}
		t.Report("iu", end, len(batches))
	}
	k := append(unprune.Vector(nil), v...)
	k.Axpy(-c, g0)
	return k, nil
}

// batchDots are the products of the gradient of each batch's mean loss with
// directions: out[direction][batch].
func batchDots(ctx context.Context, e unprune.Curvature, t *unprune.Task, batches [][]int, directions ...unprune.Vector) ([][]float64, error) {
	var rows []int
	for _, b := range batches {
		rows = append(rows, b...)
	}
	dots, err := e.SampleDots(ctx, unprune.Term{Data: t.Data, Index: rows}, directions...)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(directions))
	for d, list := range dots {
		for _, b := range batches {
			sum := 0.0
			for _, x := range list[:len(b)] {
				sum += x
			}
			out[d] = append(out[d], sum/float64(len(b)))
			list = list[len(b):]
		}
	}
	return out, nil
}

// inverse is F⁻¹v.
func (u Influence) inverse(ctx context.Context, t *unprune.Task, rows []int, v unprune.Vector) (unprune.Vector, error) {
	batch, n, damping := or(u.Batch, 1), float64(or(u.N, 1000)), or(u.Damping, 1)
	memory := or(u.Memory, 256)
	if most := max(1, gradientMemory/len(v)); memory > most {
		t.Warn("iu: %d gradients of %d numbers do not fit into memory; %d are used", memory, len(v), most)
		memory = most
	}
	batches := unprune.Batches(rows, batch)
	batches = batches[:min(len(batches), memory)]
	var g gradients = &stored[float32]{}
	if t.Engine.Weights().Parts()[0].Tensor.DType == onnx.Float64 {
		g = &stored[float64]{}
	}
	for i, index := range batches {
		gi, err := meanGradient(ctx, t, index, batch)
		if err != nil {
			return nil, err
		}
		g.add(gi)
		t.Report("iu", i+1, len(batches))
	}
	along := g.times(v)
	a := g.gram()
	for i := range a {
		a[i][i] += damping * n
	}
	if err := solve(a, along); err != nil {
		return nil, err
	}
	k := append(unprune.Vector(nil), v...)
	g.subtract(k, along)
	k.Scale(1 / damping)
	return k, nil
}

// gradients are the rows of G.
type gradients interface {
	add(g unprune.Vector)
	gram() [][]float64                            // the lower triangle of G·Gᵀ
	times(v unprune.Vector) []float64             // G·v
	subtract(k unprune.Vector, weights []float64) // k -= Gᵀ·weights
}

// stored keeps gradients in the precision that they were computed in. Products
// are summed up in double precision, a stretch of columns at a time, which also
// stays in cache.
type stored[T float32 | float64] struct{ rows [][]T }

const stretch = 2048

func (s *stored[T]) add(g unprune.Vector) {
	row := make([]T, len(g))
	for i, x := range g {
		row[i] = T(x)
	}
	s.rows = append(s.rows, row)
}

func (s *stored[T]) gram() [][]float64 {
	a := make([][]float64, len(s.rows))
	for i := range a {
		a[i] = make([]float64, i+1)
	}
	for at := 0; at < len(s.rows[0]); at += stretch {
		end := min(at+stretch, len(s.rows[0]))
		for i := range a {
			for j := range a[i] {
				a[i][j] += float64(kernel.Dot(s.rows[i][at:end], s.rows[j][at:end], 0))
			}
		}
	}
	return a
}

func (s *stored[T]) times(v unprune.Vector) []float64 {
	out := make([]float64, len(s.rows))
	for i, row := range s.rows {
		for j, x := range row {
			out[i] += float64(float64(x) * v[j])
		}
	}
	return out
}

func (s *stored[T]) subtract(k unprune.Vector, weights []float64) {
	for i, row := range s.rows {
		for j, x := range row {
			k[j] -= float64(weights[i] * float64(x))
		}
	}
}

// solve replaces x by the solution y of A·y = x, A positive definite and given by
// its lower triangle, which is overwritten (Cholesky).
func solve(a [][]float64, x []float64) error {
	for i, row := range a {
		for j := range row {
			for k := range j {
				row[j] -= float64(row[k] * a[j][k])
			}
			if j < i {
				row[j] /= a[j][j]
			} else if !(row[i] > 0) {
				return fmt.Errorf("the matrix of the retained gradients is not positive definite; use a positive damping")
			} else {
				row[i] = math.Sqrt(row[i])
			}
		}
	}
	for i, row := range a {
		for k := range i {
			x[i] -= float64(row[k] * x[k])
		}
		x[i] /= row[i]
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := i + 1; k < len(a); k++ {
			x[i] -= float64(a[k][i] * x[k])
		}
		x[i] /= a[i][i]
	}
	return nil
}

// Info describes influence unlearning.
func (u *Influence) Info() Info {
	return Info{
		About:  "one step against the influence of the forgotten data",
		Good:   "no training; a first-order step, good for few samples; alpha must be scanned",
		Cost:   "n + memory·batch training samples; with reference: n + min(N+2, n_r/batch)·batch",
		Source: "Jia et al. 2023; Unlearn-Sparse Wfisher.py; SparseModels woodfisher.py",
		Options: []Option{
			number("alpha", &u.Alpha, 1, "length of the step, to be scanned"),
			integer("n", &u.N, 1000, "divisor of the sum over retained gradients (ImageNet: 300000)"),
			number("damping", &u.Damping, 1, "multiple of the identity that F starts from"),
			integer("memory", &u.Memory, 256, "retained gradients that F is made of"),
			integer("batch", &u.Batch, 1, "retained samples per gradient"),
			flag("reference", &u.Reference, "the published recursion, whose result is v plus a multiple of one gradient"),
		},
	}
}
