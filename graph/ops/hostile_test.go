package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// TestHostileNodes mutates cases the way a broken or malicious file could:
// shapes, types, constants, attributes, missing and surplus inputs. Infer may
// accept or refuse; it must not panic, and what it accepts, as long as it is
// small, must run, inline and differentiate without panic.
func TestHostileNodes(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	forEach(t, func(t *testing.T, c *Case) {
		rng := stream("hostile " + c.String())
		accepted := 0
		for range rounds {
			s := c.build(t, onnx.Float32)
			m := mutation{rng: rng, s: s}
			for range 1 + rng.IntN(3) {
				m.apply()
			}
			if tryNode(t, s.g, s.node, m.log) {
				accepted++
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%d of %d mutants accepted", accepted, rounds)
	})
}

// tryNode infers n and, when that succeeds, uses it in every way.
func tryNode(t *testing.T, g *graph.Graph, n *graph.Node, log []string) (accepted bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v\nmutations %v\nnode %s\n%s", r, log, describe(n), debug.Stack())
		}
	}()
	if err := ops.Infer(n); err != nil {
		return false
	}
	for i, out := range n.Outputs {
		if out != nil && (!out.Shape.Known() || out.DType == onnx.Undefined) {
			t.Errorf("accepted, but output %d is %v; mutations %v", i, out, log)
			return true
		}
	}
	if !small(n) {
		return true
	}
	op, err := ops.Lookup(n)
	if err != nil {
		t.Fatal(err)
	}
	if op.Forward != nil {
		runZeros(op, n)
	}
	b := ops.NewBuilder(g)
	if op.Body != nil {
		_, _ = ops.Inline(b, n)
	}
	if op.Grad != nil && b.Err == nil {
		dy := make([]*graph.Value, len(n.Outputs))
		any := false
		for i, out := range n.Outputs {
			if out != nil && out.DType.IsFloat() {
				dy[i] = b.Zeros(out)
				any = true
			}
		}
		if any && b.Err == nil {
			_, _ = op.Grad(b, n, dy)
		}
	}
	return true
}

// small tells whether all tensors of n together can be allocated at ease.
func small(n *graph.Node) bool {
	total := 0.0
	for _, list := range [][]*graph.Value{n.Inputs, n.Outputs} {
		for _, v := range list {
			if v == nil {
				continue
			}
			size := 1.0
			for _, d := range v.Shape {
				size *= float64(d)
			}
			total += size
		}
	}
	return total < 1<<14
}

// runZeros runs the kernel on zeros, except for constants. Errors are fine.
func runZeros(op *ops.Op, n *graph.Node) {
	c := &ops.Call{Node: n}
	for _, v := range n.Inputs {
		switch {
		case v == nil:
			c.In = append(c.In, nil)
		case v.Const != nil:
			c.In = append(c.In, v.Const)
		default:
			c.In = append(c.In, onnx.NewTensor(v.DType, v.Shape...))
		}
	}
	for _, v := range n.Outputs {
		if v == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		c.Out = append(c.Out, onnx.NewTensor(v.DType, v.Shape...))
	}
	if run, err := op.Forward(c); err == nil {
		_ = run()
	}
}

func describe(n *graph.Node) string {
	text := fmt.Sprintf("%s-%d", n.Op, n.Version)
	for _, a := range n.Attrs {
		text += fmt.Sprintf(" %s={%v I=%d Ints=%v F=%v S=%q}", a.Name, a.Type, a.I, a.Ints, a.F, a.S)
	}
	for i, v := range n.Inputs {
		text += fmt.Sprintf("\n input %d: %v", i, v)
	}
	return text
}

// A mutation changes a sample's node and remembers how.
type mutation struct {
	rng *rand.Rand
	s   *sample
	log []string
}

func (m *mutation) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *mutation) apply() {
	n := m.s.node
	input := func() int { return m.rng.IntN(max(len(n.Inputs), 1)) }
	switch m.rng.IntN(10) {
	case 0, 1, 2:
		if i := input(); n.Input(i) != nil {
			m.replace(i, n.Inputs[i].DType, m.shape(n.Inputs[i].Shape))
		}
	case 3:
		if i := input(); n.Input(i) != nil {
			m.replace(i, m.dtype(), n.Inputs[i].Shape)
		}
	case 4:
		i := input()
		m.note("input %d left out", i)
		m.s.g.SetInput(n, i, nil)
	case 5:
		m.note("one input more")
		m.s.g.SetInput(n, len(n.Inputs), m.s.g.AddInput("more", m.dtype(), 2, 3))
	case 6:
		n.Version = m.rng.IntN(30)
		m.note("version %d", n.Version)
	default:
		m.attribute()
	}
}

// replace gives input i another type and shape; a constant gets random
// integers or zeros.
func (m *mutation) replace(i int, dt onnx.DType, shape graph.Shape) {
	old := m.s.node.Inputs[i]
	m.note("input %d from %v%v to %v%v", i, old.DType, []int(old.Shape), dt, []int(shape))
	if old.Const == nil {
		v := m.s.g.AddInput("mutant", dt)
		v.Shape = shape.Clone()
		m.s.g.SetInput(m.s.node, i, v)
		return
	}
	for k := range shape {
		shape[k] = min(max(shape[k], 0), 9) // constants of a file have their data
	}
	if len(shape) > 4 || dt == onnx.Undefined {
		return
	}
	data := onnx.NewTensor(dt, shape...)
	if list, ok := data.Data.([]int64); ok {
		for k := range list {
			list[k] = m.integer()
		}
	}
	m.s.g.SetInput(m.s.node, i, m.s.g.AddInit("mutant", data))
}

func (m *mutation) shape(old graph.Shape) graph.Shape {
	extents := []int{-1, 0, 1, 1, 2, 2, 3, 5, 1 << 31, 1 << 40, math.MaxInt}
	pick := func() int { return extents[m.rng.IntN(len(extents))] }
	switch m.rng.IntN(8) {
	case 0:
		return nil
	case 1:
		s := make(graph.Shape, m.rng.IntN(7))
		for i := range s {
			s[i] = pick()
		}
		return s
	case 2:
		return append(old.Clone(), pick())
	case 3:
		if len(old) > 0 {
			return old[1:].Clone()
		}
	}
	s := append(graph.Shape{}, old...)
	if len(s) > 0 {
		s[m.rng.IntN(len(s))] = pick()
	}
	return s
}

func (m *mutation) dtype() onnx.DType {
	list := []onnx.DType{onnx.Undefined, onnx.Float32, onnx.Float64, onnx.Int64, onnx.Int32, onnx.Bool, onnx.Uint8, onnx.String, onnx.Float16}
	return list[m.rng.IntN(len(list))]
}

func (m *mutation) integer() int64 {
	list := []int64{math.MinInt64, -1 << 40, -3, -2, -1, 0, 0, 1, 1, 2, 3, 4, 7, 100, 1 << 20, 1 << 40, math.MaxInt64}
	return list[m.rng.IntN(len(list))]
}

// attribute changes, drops or empties an attribute, or sets one that nodes of
// many operators have.
func (m *mutation) attribute() {
	n := m.s.node
	common := []string{"axis", "axes", "pads", "strides", "dilations", "group", "kernel_shape", "auto_pad", "ceil_mode", "perm", "epsilon", "keepdims", "to", "size", "input_shape"}
	name := common[m.rng.IntN(len(common))]
	if len(n.Attrs) > 0 && m.rng.IntN(4) > 0 {
		name = n.Attrs[m.rng.IntN(len(n.Attrs))].Name
	}
	a := onnx.Attr{Name: name}
	if old := n.Attr(name); old != nil {
		a = *old
	}
	switch m.rng.IntN(6) {
	case 0, 1:
		a.Type, a.I = onnx.AttrTypeInt, m.integer()
	case 2, 3:
		list := append([]int64{}, a.Ints...)
		if len(list) == 0 || m.rng.IntN(3) == 0 {
			list = make([]int64, m.rng.IntN(7))
			for i := range list {
				list[i] = m.integer()
			}
		}
		if len(list) > 0 {
			list[m.rng.IntN(len(list))] = m.integer()
		}
		a.Type, a.Ints = onnx.AttrTypeInts, list
	case 4:
		list := []float32{float32(math.NaN()), float32(math.Inf(1)), -1, 0, 0.5, 1e38}
		a.Type, a.F = onnx.AttrTypeFloat, list[m.rng.IntN(len(list))]
	case 5:
		list := []string{"", "SAME_UPPER", "SAME_LOWER", "VALID", "bogus"}
		a.Type, a.S = onnx.AttrTypeString, []byte(list[m.rng.IntN(len(list))])
	}
	m.note("attribute %s: I=%d Ints=%v F=%v S=%q", name, a.I, a.Ints, a.F, a.S)
	n.SetAttr(&a)
}
