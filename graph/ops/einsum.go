package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

func init() {
	register(Op{Name: "Einsum", Since: []int{12, 28}, Infer: inferEinsum, Body: einsumBody})
}

// An einsum is an equation with the axes of every term named by a letter; the
// axes of an ellipsis are named by digits, the last of them '9'.
type einsum struct {
	terms  []string
	out    string
	extent map[byte]int
}

func readEinsum(n *graph.Node) (*einsum, error) {
	equation := strings.ReplaceAll(n.Str("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	e := &einsum{terms: strings.Split(left, ","), out: right, extent: map[byte]int{}}
	if len(e.terms) != len(n.Inputs) {
		return nil, fmt.Errorf("equation %q has %d terms for %d inputs", equation, len(e.terms), len(n.Inputs))
	}
	dots := 0
	for i, v := range n.Inputs {
		term, err := nameAxes(e.terms[i], len(v.Shape), &dots)
		if err != nil {
			return nil, fmt.Errorf("equation %q: %w", equation, err)
		}
		e.terms[i] = term
		for a, d := range v.Shape {
			if have, ok := e.extent[term[a]]; ok && have != d && have != 1 && d != 1 {
				return nil, fmt.Errorf("equation %q: index %c has extents %d and %d", equation, term[a], have, d)
			}
			e.extent[term[a]] = max(e.extent[term[a]], d)
		}
	}
	if !explicit {
		e.out = e.implicit(dots)
	}
	rank := len(strings.Replace(e.out, "...", "", 1))
	if strings.Contains(e.out, "...") {
		rank += dots
	}
	out, err := nameAxes(e.out, rank, &dots)
	if err != nil {
		return nil, fmt.Errorf("equation %q: %w", equation, err)
	}
	for i := range len(out) {
		if _, ok := e.extent[out[i]]; !ok || strings.Count(out, out[i:i+1]) > 1 {
			return nil, fmt.Errorf("equation %q: index %c of the result stands in no term, or twice", equation, out[i])
		}
	}
	e.out = out
	return e, nil
}

// nameAxes checks a term for a tensor of the given rank and replaces its
// ellipsis by digits.
func nameAxes(term string, rank int, dots *int) (string, error) {
	before, after, open := strings.Cut(term, "...")
	for _, r := range before + after {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return "", fmt.Errorf("index %q is no letter", r)
		}
	}
	rest := rank - len(before) - len(after)
	if rest < 0 || rest > 10 || !open && rest != 0 {
		return "", fmt.Errorf("term %q does not fit rank %d", term, rank)
	}
	*dots = max(*dots, rest)
	return before + "0123456789"[10-rest:] + after, nil
}

// implicit is the result of an equation without "->": the ellipsis, then every
// index that occurs once, sorted.
func (e *einsum) implicit(dots int) string {
	all := strings.Join(e.terms, "")
	var once []string
	for i := range len(all) {
		if c := all[i : i+1]; all[i] > '9' && strings.Count(all, c) == 1 {
			once = append(once, c)
		}
	}
	slices.Sort(once)
	if dots > 0 {
		return "..." + strings.Join(once, "")
	}
	return strings.Join(once, "")
}

func inferEinsum(n *graph.Node) error {
	if len(n.Inputs) == 0 {
		return fmt.Errorf("has no inputs")
	}
	if err := arity(n, len(n.Inputs), anyNumber, 1); err != nil {
		return err
	}
	for i := range n.Inputs {
		if err := wantType(n, i, numbers...); err != nil {
			return err
		}
		if err := sameType(n, 0, i); err != nil {
			return err
		}
	}
	e, err := readEinsum(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, e.shape(e.out))
}

func (e *einsum) shape(term string) graph.Shape {
	s := make(graph.Shape, len(term))
	for i := range s {
		s[i] = e.extent[term[i]]
	}
	return s
}

// einsumBody multiplies the terms from left to right: what only one of a pair
// has and nobody needs later is summed at once, what both have and nobody
// needs is contracted by a matrix product.
func einsumBody(b *Builder, n *graph.Node) (values, error) {
	e, err := readEinsum(n)
	if err != nil {
		return nil, err
	}
	x, term := b.diagonals(n.Inputs[0], e.terms[0])
	for i, v := range n.Inputs[1:] {
		later := strings.Join(e.terms[i+2:], "") + e.out
		y, other := b.diagonals(v, e.terms[i+1])
		x, term = b.contract(x, term, y, other, later)
	}
	x, term = b.sumOver(x, term, func(c byte) bool { return strings.IndexByte(e.out, c) < 0 })
	perm := make([]int, len(e.out))
	for i := range e.out {
		perm[i] = strings.IndexByte(term, e.out[i])
	}
	y := b.Transpose(x, perm...)
	return values{b.Expand(y, e.shape(e.out))}, b.Err
}

// diagonals keeps of x, where its term repeats an index, the elements at equal
// positions.
func (b *Builder) diagonals(x *graph.Value, term string) (*graph.Value, string) {
	for i := 0; i < len(term) && b.Err == nil; i++ {
		j := strings.LastIndexByte(term, term[i])
		if j == i {
			continue
		}
		// Multiply by the identity and sum one of the axes away.
		size := x.Shape[i]
		eye := make([]float64, size*size)
		for k := range size {
			eye[k*size+k] = 1
		}
		shape := slices.Repeat([]int{1}, len(term))
		shape[i], shape[j] = size, size
		mask := b.Reshape(b.Cast(b.Const(onnx.FromSlice(eye, size, size)), x.DType), shape...)
		x = b.ReduceSum(b.Mul(x, mask), false, j)
		term = term[:j] + term[j+1:]
		i--
	}
	return x, term
}

// sumOver sums x over the indices that drop names.
func (b *Builder) sumOver(x *graph.Value, term string, drop func(byte) bool) (*graph.Value, string) {
	var axes []int
	rest := ""
	for i := range len(term) {
		if drop(term[i]) {
			axes = append(axes, i)
		} else {
			rest += term[i : i+1]
		}
	}
	return b.ReduceSum(x, false, axes...), rest
}

// contract multiplies two terms, of which the indices in later are kept.
func (b *Builder) contract(x *graph.Value, xs string, y *graph.Value, ys, later string) (*graph.Value, string) {
	needed := func(c byte) bool { return strings.IndexByte(later, c) >= 0 }
	x, xs = b.sumOver(x, xs, func(c byte) bool { return !needed(c) && strings.IndexByte(ys, c) < 0 })
	y, ys = b.sumOver(y, ys, func(c byte) bool { return !needed(c) && strings.IndexByte(xs, c) < 0 })
	if b.Err != nil {
		return nil, ""
	}
	var batch, inner, rows, columns string
	for i := range len(xs) {
		switch c := xs[i : i+1]; {
		case !strings.Contains(ys, c):
			rows += c
		case needed(xs[i]):
			batch += c
		default:
			inner += c
		}
	}
	for i := range len(ys) {
		if c := ys[i : i+1]; !strings.Contains(xs, c) {
			columns += c
		}
	}
	extent := func(c byte) int {
		d := 1
		if i := strings.IndexByte(xs, c); i >= 0 {
			d = x.Shape[i]
		}
		if i := strings.IndexByte(ys, c); i >= 0 {
			d = max(d, y.Shape[i])
		}
		return d
	}
	sizes := func(list string) graph.Shape {
		s := graph.Shape{}
		for i := range len(list) {
			s = append(s, extent(list[i]))
		}
		return s
	}
	arrange := func(v *graph.Value, have, want string) *graph.Value {
		perm := make([]int, len(want))
		for i := range want {
			perm[i] = strings.IndexByte(have, want[i])
		}
		return b.Expand(b.Transpose(v, perm...), sizes(want))
	}
	u := arrange(x, xs, batch+rows+inner)
	v := arrange(y, ys, batch+inner+columns)
	if !x.DType.IsFloat() { // MatMul computes with floating-point numbers
		u, v = b.Cast(u, onnx.Float64), b.Cast(v, onnx.Float64)
	}
	nb, nr, ni, nc := product(sizes(batch)), product(sizes(rows)), product(sizes(inner)), product(sizes(columns))
	z := b.Op("MatMul", b.Reshape(u, nb, nr, ni), b.Reshape(v, nb, ni, nc))
	z = b.Cast(z, x.DType)
	return b.Reshape(z, sizes(batch+rows+columns)...), batch + rows + columns
}
