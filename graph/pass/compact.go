package pass

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A Compaction says what Compact took out of a model.
type Compaction struct {
	// Kept lists, per parameter and axis that lost positions, the positions of
	// the original that are left.
	Kept map[string]map[int][]int `json:"kept"`
	// Shapes are the original shapes of these parameters.
	Shapes map[string][]int `json:"shapes"`
}

// Compact removes from an imported model's graph, through every operator, the
// channels, hidden units and attention heads that pruning has emptied:
//
//   - those that hold one number whatever the input is, because all weights
//     that make them are zero;
//   - those that nobody reads, because all weights that read them are zero.
//
// The outputs stay the same but for rounding. Constants other than zero are
// passed on: of the channels that hold one, the first stays in place for all,
// and the weights that read it are their sum. What goes with what follows from
// the operators' Axes rules; channels that a normalisation computes with
// together, and those of the model's inputs and outputs, stay. Every axis keeps
// one position at least.
//
// The graph is changed in place. Only the leading extent of inputs may be free.
func Compact(im *Model) (*Compaction, error) { return compact(im, unaligned) }

// An alignment is the multiple to which what is left of a convolution's n
// channels is rounded up; 1 for none.
type alignment func(n, left int) int

func unaligned(n, left int) int { return 1 }

// CompactAligned is Compact, but of every convolution a multiple of channels
// stays, with zeros in some if need be: of roundTo of them, or with 0 of 16, else
// of 8, if the original had such a multiple and what stays does not become half
// as much again. ONNX Runtime computes convolutions
// fast in blocks of 16 channels (AVX-512) or 8, and depthwise ones of other
// widths many times more slowly.
func CompactAligned(im *Model, roundTo int) (*Compaction, error) {
	return compact(im, func(n, left int) int {
		for _, block := range []int{16, 8} {
			if roundTo == 0 && n%block == 0 && 2*roundedUp(left, block) <= 3*left {
				return block
			}
		}
		return max(1, roundTo)
	})
}

func roundedUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

func compact(im *Model, align alignment) (*Compaction, error) {
	s, err := newShrinker(im)
	if err != nil {
		return nil, err
	}
	s.decide()
	s.align(align)
	s.merge()
	return s.rewrite()
}

// A shrinker works on a copy of the graph for a batch of one, in which all
// extents are known, and carries the result over to the graph.
type shrinker struct {
	model   *Model
	one     *graph.Graph // for a batch of one, or the one that the model is fixed to
	two     *graph.Graph // for a batch of two: where extents differ is the batch
	classes *ops.Coupling
	numbers *uniform
	readers map[int][]reader // per class, the sums that add over it
	gone    map[int]bool     // classes that are removed
	tensors map[string]*onnx.Tensor
}

// A reader is one position that a linear layer adds over.
type reader struct {
	sum      ops.Sum
	position int // along sum.X
}

func newShrinker(im *Model) (*shrinker, error) {
	keep := im.Floats()
	s := &shrinker{model: im, readers: map[int][]reader{}, gone: map[int]bool{}, tensors: map[string]*onnx.Tensor{}}
	var err error
	if s.one, err = Specialise(im.Graph, Target{Batch: max(1, fixedBatch(im.Graph)), Keep: keep}); err != nil {
		return nil, err
	}
	s.two = s.one
	if fixedBatch(im.Graph) < 0 {
		if s.two, err = Specialise(im.Graph, Target{Batch: 2, Keep: keep}); err != nil {
			return nil, err
		}
	}
	if s.classes, err = ops.Couple(s.one); err != nil {
		return nil, err
	}
	if s.numbers, err = findUniform(s.one, s.classes); err != nil {
		return nil, err
	}
	for _, n := range s.one.Nodes {
		if rule := s.classes.Rules[n]; rule != nil {
			for _, sum := range rule.Sums {
				s.read(sum)
			}
		}
	}
	return s, nil
}

// fixedBatch is the leading extent of the first input, -1 where it is free.
func fixedBatch(g *graph.Graph) int {
	if len(g.Inputs) == 0 || len(g.Inputs[0].Shape) == 0 {
		return -1
	}
	return g.Inputs[0].Shape[0]
}

// read lists the positions that a sum adds over. A position whose outputs go
// with it, as in depthwise convolution, is not read by it.
func (s *shrinker) read(sum ops.Sum) {
	for p := range sum.X.Extent() {
		c := s.classes.Class(sum.X, p)
		if sum.Group > 1 && sum.W.Extent() == 1 {
			continue
		}
		s.readers[c] = append(s.readers[c], reader{sum, p})
	}
}

// decide marks the classes that can go: no reader of one gets anything from
// it but a constant.
func (s *shrinker) decide() {
	for _, class := range s.classes.Classes() {
		id := s.classes.Class(class.Places[0].Axis, class.Places[0].Position)
		if class.Fixed || class.Mixed {
			continue
		}
		dead := true
		for _, r := range s.readers[id] {
			dead = dead && (s.contributes(r) == 0 || s.mergeable(r))
		}
		if dead && s.holdsWeights(class) {
			s.gone[id] = true
		}
	}
	s.leaveOne()
}

// holdsWeights reports whether a parameter loses something with the class.
func (s *shrinker) holdsWeights(class ops.Class) bool {
	return slices.ContainsFunc(class.Places, func(p ops.Place) bool { return p.Value.Const != nil && p.Value.DType.IsFloat() })
}

// contributes is the number that the reader's products are made of: 0 where
// the value or all its weights are zero, NaN where it is not one number.
func (s *shrinker) contributes(r reader) float64 {
	x := s.numbers.get(r.sum.X, r.position)
	if x == 0 {
		return 0
	}
	if s.numbers.get(r.sum.W, r.position%r.sum.W.Extent()) == 0 {
		return 0
	}
	return x
}

// mergeable reports whether the reader gets a constant that another position
// can stand for: its weights are a parameter that can be changed.
func (s *shrinker) mergeable(r reader) bool {
	if math.IsNaN(s.contributes(r)) || r.sum.Group > 1 || r.sum.Out.Value == nil {
		return false
	}
	w := stored(r.sum.W)
	return w.Value.Const != nil && len(w.Value.Uses()) == 1
}

// stored follows an axis back through transpositions to where it is in the
// file's parameter.
func stored(a ops.Axis) ops.Axis {
	for n := a.Value.Producer(); n != nil && n.Op == "Transpose" && n.Domain == "" && len(a.Value.Uses()) == 1; n = a.Value.Producer() {
		i := len(a.Value.Shape) - 1 - a.Index
		if perm := n.Ints("perm"); perm != nil {
			i = perm[a.Index]
		}
		a = ops.Axis{Value: n.Inputs[0], Index: i}
	}
	return a
}

// leaveOne keeps a position of every axis that would lose all.
func (s *shrinker) leaveOne() {
	for _, v := range slices.Concat(s.one.Inits, s.made()) {
		for axis, d := range v.Shape {
			a := ops.Axis{Value: v, Index: axis}
			if d > 0 && len(s.kept(a)) == 0 {
				delete(s.gone, s.classes.Class(a, 0))
			}
		}
	}
}

// align lets so many channels of each convolution stay that they are a
// multiple, or all.
func (s *shrinker) align(multiple alignment) {
	for _, n := range s.one.Nodes {
		if n.Op != "Conv" || n.Domain != "" {
			continue
		}
		w := ops.Axis{Value: n.Inputs[1], Index: 0}
		left := len(s.kept(w))
		want := min(w.Extent(), roundedUp(left, multiple(w.Extent(), left)))
		for p := 0; left < want; p++ {
			if c := s.classes.Class(w, p); s.gone[c] {
				delete(s.gone, c)
				left = len(s.kept(w))
			}
		}
	}
}

// made are the values that nodes make.
func (s *shrinker) made() []*graph.Value {
	var list []*graph.Value
	for _, n := range s.one.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				list = append(list, v)
			}
		}
	}
	return list
}

// kept lists the positions of an axis that stay.
func (s *shrinker) kept(a ops.Axis) []int {
	var list []int
	for p := range a.Extent() {
		if !s.gone[s.classes.Class(a, p)] {
			list = append(list, p)
		}
	}
	return list
}

// merge lets one class stand for those that hold constants other than zero and
// have the same readers, and adds their weights up.
func (s *shrinker) merge() {
	stands := map[string]int{}
	for _, class := range s.classes.Classes() {
		id := s.classes.Class(class.Places[0].Axis, class.Places[0].Position)
		if !s.gone[id] || !slices.ContainsFunc(s.readers[id], func(r reader) bool { return s.contributes(r) != 0 }) {
			continue
		}
		key := s.constantReaders(id)
		stand, ok := stands[key]
		if !ok {
			stands[key] = id
			delete(s.gone, id)
			continue
		}
		for i, r := range s.readers[id] {
			s.absorb(s.readers[stand][i], r)
		}
	}
}

// constantReaders names the sums that read a class, and which of them get a
// constant that is not zero.
func (s *shrinker) constantReaders(id int) string {
	var b strings.Builder
	for _, r := range s.readers[id] {
		fmt.Fprintf(&b, "%q %v;", r.sum.Y.Value.Name, s.numbers.get(r.sum.X, r.position) == 0)
	}
	return b.String()
}

// absorb adds the weights that read position from, scaled to the constant that
// position into holds.
func (s *shrinker) absorb(into, from reader) {
	x := s.numbers.get(from.sum.X, from.position)
	if x == 0 {
		return
	}
	scale := x / s.numbers.get(into.sum.X, into.position)
	in, out := stored(into.sum.W), stored(into.sum.Out)
	w := s.writable(in.Value)
	at := slicesOf(in.Value.Shape, out.Index, in.Index)
	for o := range into.sum.Out.Extent() {
		var sources []int
		for i := range at(o, from.position) {
			sources = append(sources, i)
		}
		k := 0
		for i := range at(o, into.position) {
			switch d := w.Data.(type) {
			case []float32:
				d[i] += float32(scale * float64(d[sources[k]]))
			case []float64:
				d[i] += scale * d[sources[k]]
			}
			k++
		}
	}
}

// writable is a copy of a parameter's tensor that belongs to the result.
func (s *shrinker) writable(v *graph.Value) *onnx.Tensor {
	if s.tensors[v.Name] == nil {
		s.tensors[v.Name] = cloneTensor(v.Const)
	}
	return s.tensors[v.Name]
}
