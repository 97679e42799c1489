package sparsity

import (
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// similarity compares the units that are left of a group with those of the
// original.
type similarity struct {
	cosines [][]float64 // per unit that is left, one per unit of the original
	length  int         // of the vectors compared
}

// comparisons bounds the products that one comparison of a group costs; longer
// vectors are thinned out evenly.
const comparisons = 1 << 29

// A slab is what the units have of one layer, as offsets: unit u's number k at
// base[u][k/len(rest)] + rest[k%len(rest)].
type slab struct {
	data func(i int) float64
	base [][]int
	rest []int
}

func (s slab) each() int { return len(s.base[0]) * len(s.rest) }

func (s slab) at(unit, k int) float64 {
	return s.data(s.base[unit][k/len(s.rest)] + s.rest[k%len(s.rest)])
}

// similarities compares by all layers of the group whose other axes are known;
// nil if there is none.
func (f *finder) similarities(i int) *similarity {
	g := &f.groups[i]
	var wide, narrow []slab
	total := 0
	for _, m := range g.Members {
		if w, n, ok := f.slabs(i, m); ok {
			wide, narrow = append(wide, w), append(narrow, n)
			total += w.each()
		}
	}
	if total == 0 {
		return nil
	}
	step := 1 + f.left[i]*g.Units*total/comparisons
	a, b := unitVectors(narrow, step), unitVectors(wide, step)
	s := &similarity{cosines: make([][]float64, len(a)), length: len(a[0])}
	for j := range a {
		s.cosines[j] = make([]float64, len(b))
		for u := range b {
			s.cosines[j][u] = dot(a[j], b[u])
		}
	}
	return s
}

// slabs are a layer's numbers per unit, in the original and in the narrow
// network; ok is false while positions along its axes are unknown.
func (f *finder) slabs(i int, m Member) (wide, narrow slab, ok bool) {
	tw, tn := f.wide[m.Param], f.narrow[m.Param]
	if tn == nil {
		return wide, narrow, false
	}
	wide, narrow = slab{rest: []int{0}}, slab{rest: []int{0}}
	for axis := range m.Shape {
		if axis == m.Axis {
			continue
		}
		list := f.positions(dimension{m.Param, axis})
		if len(list) != tn.Shape[axis] {
			return wide, narrow, false
		}
		wide.rest = crossed(wide.rest, list, onnx.Size(tw.Shape[axis+1:]))
		narrow.rest = crossed(narrow.rest, upTo(len(list)), onnx.Size(tn.Shape[axis+1:]))
	}
	at := f.places(i, m)
	if at == nil {
		return wide, narrow, false
	}
	wide.base, narrow.base = scaled(m.At, onnx.Size(tw.Shape[m.Axis+1:])), scaled(at, onnx.Size(tn.Shape[m.Axis+1:]))
	lw, ln := Layer{Name: m.Param, Weight: tw}, Layer{Name: m.Param, Weight: tn}
	if lw.check(Weight) != nil || ln.check(Weight) != nil {
		return wide, narrow, false
	}
	wide.data, narrow.data = lw.at(), ln.at()
	return wide, narrow, true
}

// places are the positions that the units which are left have along the axis in
// the narrow network. Where the group has the axis to itself they do not depend
// on which units are left; nil where they are unknown.
func (f *finder) places(i int, m Member) [][]int {
	d := dimension{m.Param, m.Axis}
	known := *f
	if len(f.cover[d]) == 1 {
		known.kept = slices.Clone(f.kept)
		known.kept[i] = upTo(f.left[i])
	}
	kept, list := known.kept[i], known.positions(d)
	if list == nil || kept == nil || len(list) != f.narrow[m.Param].Shape[m.Axis] {
		return nil
	}
	out := make([][]int, len(kept))
	for j, u := range kept {
		for _, p := range m.At[u] {
			at, _ := slices.BinarySearch(list, p)
			out[j] = append(out[j], at)
		}
	}
	return out
}

// crossed adds every listed position times a stride to every offset.
func crossed(offsets, list []int, stride int) []int {
	out := make([]int, 0, len(offsets)*len(list))
	for _, o := range offsets {
		for _, p := range list {
			out = append(out, o+p*stride)
		}
	}
	return out
}

func scaled(lists [][]int, stride int) [][]int {
	out := make([][]int, len(lists))
	for i, list := range lists {
		for _, p := range list {
			out[i] = append(out[i], p*stride)
		}
	}
	return out
}

// unitVectors strings together what each unit has of the layers, these in equal
// measure, every step-th number of it, and gives the vectors length 1.
func unitVectors(slabs []slab, step int) [][]float32 {
	out := make([][]float32, len(slabs[0].base))
	for _, s := range slabs {
		squares := 0.0
		for u := range out {
			for k := 0; k < s.each(); k += step {
				squares += s.at(u, k) * s.at(u, k)
			}
		}
		scale := 1 / math.Max(math.Sqrt(squares/float64(len(out)*(1+(s.each()-1)/step))), 1e-30)
		for u := range out {
			for k := 0; k < s.each(); k += step {
				out[u] = append(out[u], float32(scale*s.at(u, k)))
			}
		}
	}
	for _, v := range out {
		norm := float32(math.Sqrt(float64(dot(v, v))))
		for i := range v {
			v[i] /= max(norm, 1e-30)
		}
	}
	return out
}

func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float32 // independent sums keep the processor busy
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float32(a[0] * b[0])
		s1 += float32(a[1] * b[1])
		s2 += float32(a[2] * b[2])
		s3 += float32(a[3] * b[3])
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += float32(a[i] * b[i])
	}
	return float64(s0) + float64(s1) + float64(s2) + float64(s3)
}

// align returns, in rising order, the units of the original that are most
// similar in sum to those that are left.
func align(s *similarity) []int {
	n, m := len(s.cosines), len(s.cosines[0])
	best := make([][]float64, n+1) // best[j][u]: of the first j, among the first u
	for j := range best {
		best[j] = make([]float64, m+1)
		for u := range best[j] {
			switch {
			case j == 0:
			case u < j:
				best[j][u] = math.Inf(-1)
			default:
				best[j][u] = max(best[j][u-1], best[j-1][u-1]+s.cosines[j-1][u-1])
			}
		}
	}
	out := make([]int, n)
	for j, u := n, m; j > 0; u-- {
		if best[j][u] != best[j][u-1] {
			j--
			out[j] = u - 1
		}
	}
	return out
}
