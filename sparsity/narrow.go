package sparsity

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// FindKept tells which units of the groups are left in a narrow network, from
// which the others were taken out physically, as Torch-Pruning does. wide are
// the parameters of the same network at its original width, best those just
// before pruning; narrow those of the narrow one under the same names. The
// result lists, per parameter and axis that lost positions, the positions that
// are left.
//
// Units that are left keep their order, so the most similar assignment in order
// is looked for, group after group: similarity is the cosine between all
// weights that make or read a unit. It is an error if the evidence does not
// suffice, that is, unless nine of ten units of every group resemble the one
// they are taken for more than any other.
func FindKept(groups []Group, wide, narrow map[string]*onnx.Tensor) (map[string]map[int][]int, error) {
	f, err := newFinder(groups, wide, narrow)
	if err != nil {
		return nil, err
	}
	if err := f.resolve(); err != nil {
		return nil, err
	}
	for range 3 { // every group again, now that all that it touches is known
		if !f.refine() {
			break
		}
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.result()
}

// An UncertainError says that the units that are left cannot be told.
type UncertainError struct {
	Layer string // the first of the group
	Units int    // of the original
	Kept  int    // of the narrow network
	Alike int    // of these resemble the unit they would be taken for more than any other
}

func (e *UncertainError) Error() string {
	return fmt.Sprintf("sparsity: which %d of the %d units of %q are left cannot be told: only %d of them resemble one of the original's in the same order", e.Kept, e.Units, e.Layer, e.Alike)
}

// A dimension is an axis of a parameter.
type dimension struct {
	param string
	axis  int
}

// A finder assigns the units of a narrow network to those of a wide one.
type finder struct {
	groups       []Group
	wide, narrow map[string]*onnx.Tensor
	left         []int   // units per group
	kept         [][]int // units per group, nil while unknown
	cover        map[dimension][]member
}

// A member is one of a group's.
type member struct {
	Member
	group int
}

func newFinder(groups []Group, wide, narrow map[string]*onnx.Tensor) (*finder, error) {
	f := &finder{groups: groups, wide: wide, narrow: narrow, kept: make([][]int, len(groups)), cover: map[dimension][]member{}}
	for i, g := range groups {
		for _, m := range slices.Concat(g.Members, g.Followers) {
			d := dimension{m.Param, m.Axis}
			f.cover[d] = append(f.cover[d], member{m, i})
		}
	}
	for name, t := range narrow {
		if w := wide[name]; w == nil || len(w.Shape) != len(t.Shape) {
			return nil, fmt.Errorf("sparsity: %q is not in the original, or has another rank there: these are different networks", name)
		}
		for axis, d := range t.Shape {
			if f.cover[dimension{name, axis}] == nil && d != wide[name].Shape[axis] {
				return nil, fmt.Errorf("sparsity: axis %d of %q has extent %d, in the original %d, and nothing can be taken out of it", axis, name, d, wide[name].Shape[axis])
			}
		}
	}
	for i, g := range groups {
		n, err := f.count(i)
		if err != nil {
			return nil, err
		}
		f.left = append(f.left, n)
		if n == g.Units {
			f.kept[i] = upTo(n)
		} else if g.Mixed {
			return nil, fmt.Errorf("sparsity: %q lost units that a normalisation computes with together; the network of the original width with zeros in their place is not the same one", g.first())
		}
	}
	return f, nil
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// first names a group in messages.
func (g *Group) first() string {
	for _, m := range slices.Concat(g.Members, g.Followers) {
		return m.Param
	}
	return ""
}

// count is how many units of a group are left, by the extents that the group
// has to itself.
func (f *finder) count(i int) (int, error) {
	g, left := &f.groups[i], -1
	for _, m := range slices.Concat(g.Members, g.Followers) {
		t := f.narrow[m.Param]
		if t == nil || len(f.cover[dimension{m.Param, m.Axis}]) > 1 {
			continue
		}
		each := len(m.At[0])
		n := t.Shape[m.Axis] - (m.Shape[m.Axis] - each*g.Units) // without what cannot go
		if n <= 0 || n%each != 0 || n/each > g.Units || left >= 0 && n/each != left {
			return 0, fmt.Errorf("sparsity: axis %d of %q has extent %d, in the original %d; that is no whole number of the %d units that its group has, or not the number in the other layers", m.Axis, m.Param, t.Shape[m.Axis], m.Shape[m.Axis], g.Units)
		}
		left = n / each
	}
	if left < 0 {
		return 0, fmt.Errorf("sparsity: how many units of %q are left cannot be told from the shapes", g.first())
	}
	return left, nil
}

// resolve assigns groups in the order in which the graph reads them, each as
// soon as a layer of it can be compared.
func (f *finder) resolve() error {
	for {
		progress, missing := false, -1
		for i := range f.groups {
			if f.kept[i] != nil {
				continue
			}
			missing = i
			if s := f.similarities(i); s != nil {
				f.kept[i], progress = align(s), true
			}
		}
		if missing < 0 {
			return nil
		}
		if !progress {
			return fmt.Errorf("sparsity: which units of %q are left cannot be told: no layer of its group can be compared", f.groups[missing].first())
		}
	}
}

// refine assigns every group again; it reports whether one changed.
func (f *finder) refine() bool {
	changed := false
	for i, g := range f.groups {
		if f.left[i] == g.Units {
			continue
		}
		again := align(f.similarities(i))
		changed = changed || !slices.Equal(again, f.kept[i])
		f.kept[i] = again
	}
	return changed
}

// check refuses assignments that the weights do not bear out.
func (f *finder) check() error {
	for i, g := range f.groups {
		if f.left[i] == g.Units {
			continue
		}
		s := f.similarities(i)
		alike, cosine := 0, 0.0
		for j, row := range s.cosines {
			best := slices.Index(row, slices.Max(row))
			cosine += row[f.kept[i][j]] / float64(len(s.cosines))
			if best == f.kept[i][j] {
				alike++
			}
		}
		// Of cosines between independent vectors, the largest among N is about
		// sqrt(2·ln N / length).
		chance := (math.Sqrt(2*math.Log(float64(g.Units))) + 2) / math.Sqrt(float64(s.length))
		if 10*alike < 9*len(s.cosines) || cosine < min(0.9, chance) {
			return &UncertainError{Layer: g.first(), Units: g.Units, Kept: f.left[i], Alike: alike}
		}
	}
	return nil
}

// positions lists what is left of an axis; nil while that is unknown.
func (f *finder) positions(d dimension) []int {
	gone := map[int]bool{}
	for _, m := range f.cover[d] {
		kept := f.kept[m.group]
		if kept == nil {
			return nil
		}
		for u, at := range m.At {
			if _, found := slices.BinarySearch(kept, u); !found {
				for _, p := range at {
					gone[p] = true
				}
			}
		}
	}
	var list []int
	for p := range f.wide[d.param].Shape[d.axis] {
		if !gone[p] {
			list = append(list, p)
		}
	}
	return list
}

// result collects what is left per parameter and axis.
func (f *finder) result() (map[string]map[int][]int, error) {
	all := map[string]map[int][]int{}
	for d := range f.cover {
		t := f.narrow[d.param]
		if t == nil {
			continue
		}
		list := f.positions(d)
		if len(list) != t.Shape[d.axis] {
			return nil, fmt.Errorf("sparsity: axis %d of %q has extent %d; of the original's %d, %d should be left", d.axis, d.param, t.Shape[d.axis], f.wide[d.param].Shape[d.axis], len(list))
		}
		if len(list) == f.wide[d.param].Shape[d.axis] {
			continue
		}
		if all[d.param] == nil {
			all[d.param] = map[int][]int{}
		}
		all[d.param][d.axis] = list
	}
	return all, nil
}
