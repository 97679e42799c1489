package ops

import (
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Recurrent layers, as the operators that one step after the other takes. X is
// [length batch input], or [batch length input] with layout 1; W [directions
// gates*hidden input], R [directions gates*hidden hidden], B [directions
// 2*gates*hidden]; Y [length directions batch hidden].
func init() {
	register(
		Op{Name: "RNN", Since: []int{7, 14, 22}, Infer: inferRecurrent, Body: recurrentBody},
		Op{Name: "GRU", Since: []int{7, 14, 22}, Infer: inferRecurrent, Body: recurrentBody},
		Op{Name: "LSTM", Since: []int{7, 14, 22}, Infer: inferRecurrent, Body: recurrentBody},
	)
}

// maxSteps bounds the number of steps, each of which becomes nodes.
const maxSteps = 1 << 14

// A recurrent is what an RNN, GRU or LSTM node says.
type recurrent struct {
	op                           string
	gates                        int
	batchFirst                   bool
	length, batch, input, hidden int
	backward                     []bool     // per direction
	activations                  [][]string // per direction
	alpha, beta                  [][]float64
	clip                         float64
	linearBeforeReset, coupled   bool
}

var gateCount = map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}

var defaultActivations = map[string][]string{"RNN": {"Tanh"}, "GRU": {"Sigmoid", "Tanh"}, "LSTM": {"Sigmoid", "Tanh", "Tanh"}}

func readRecurrent(n *graph.Node) (*recurrent, error) {
	r := &recurrent{
		op: n.Op, gates: gateCount[n.Op], batchFirst: n.Int("layout", 0) != 0, clip: n.Float("clip", 0),
		linearBeforeReset: n.Int("linear_before_reset", 0) != 0, coupled: n.Int("input_forget", 0) != 0,
	}
	x, w := n.Inputs[0].Shape, n.Inputs[1].Shape
	if len(x) != 3 || len(w) != 3 || w[1]%r.gates != 0 || w[1] == 0 {
		return nil, fmt.Errorf("input X has shape %v and W %v, want [length batch input] and [directions %d*hidden input]", []int(x), []int(w), r.gates)
	}
	r.length, r.batch, r.input, r.hidden = x[0], x[1], x[2], w[1]/r.gates
	if r.batchFirst {
		r.length, r.batch = x[1], x[0]
	}
	if r.length < 1 || r.length > maxSteps {
		return nil, fmt.Errorf("the sequence has %d steps, want between 1 and %d", r.length, maxSteps)
	}
	switch d := n.Str("direction", "forward"); d {
	case "forward":
		r.backward = []bool{false}
	case "reverse":
		r.backward = []bool{true}
	case "bidirectional":
		r.backward = []bool{false, true}
	default:
		return nil, fmt.Errorf("direction is %q, want forward, reverse or bidirectional", d)
	}
	if h := n.Int("hidden_size", r.hidden); h != r.hidden {
		return nil, fmt.Errorf("hidden_size is %d, W has %d", h, r.hidden)
	}
	return r, r.readActivations(n)
}

// readActivations reads the functions of each direction, with their numbers,
// which are listed in order for those functions that take any.
func (r *recurrent) readActivations(n *graph.Node) error {
	per := len(defaultActivations[r.op])
	var names []string
	if a := n.Attr("activations"); a != nil {
		for _, s := range a.Strings {
			names = append(names, string(s))
		}
	}
	if names == nil {
		for range r.backward {
			names = append(names, defaultActivations[r.op]...)
		}
	}
	if len(names) != per*len(r.backward) {
		return fmt.Errorf("activations %v: want %d", names, per*len(r.backward))
	}
	alphas, betas := attrFloats(n, "activation_alpha"), attrFloats(n, "activation_beta")
	next := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		x := float64((*list)[0])
		*list = (*list)[1:]
		return x
	}
	for i, name := range names {
		rule, ok := recurrentFunctions[strings.ToLower(name)]
		if !ok {
			return fmt.Errorf("activation %q is not implemented in %s", name, r.op)
		}
		if i%per == 0 {
			r.activations = append(r.activations, nil)
			r.alpha, r.beta = append(r.alpha, nil), append(r.beta, nil)
		}
		d := len(r.activations) - 1
		alpha, beta := rule.alpha, rule.beta
		if rule.numbers > 0 {
			alpha = next(&alphas, alpha)
		}
		if rule.numbers > 1 {
			beta = next(&betas, beta)
		}
		r.activations[d] = append(r.activations[d], strings.ToLower(name))
		r.alpha[d], r.beta[d] = append(r.alpha[d], alpha), append(r.beta[d], beta)
	}
	return nil
}

func attrFloats(n *graph.Node, name string) []float32 {
	if a := n.Attr(name); a != nil {
		return a.Floats
	}
	return nil
}

// recurrentFunctions lists the activations and how many numbers each takes.
var recurrentFunctions = map[string]struct {
	numbers     int
	alpha, beta float64
	op          string // operator of the same meaning
}{
	"tanh": {op: "Tanh"}, "sigmoid": {op: "Sigmoid"}, "relu": {op: "Relu"}, "softplus": {op: "Softplus"},
	"softsign":    {op: "Softsign"},
	"leakyrelu":   {numbers: 1, alpha: 0.01, op: "LeakyRelu"},
	"elu":         {numbers: 1, alpha: 1, op: "Elu"},
	"hardsigmoid": {numbers: 2, alpha: 0.2, beta: 0.5, op: "HardSigmoid"},
	"affine":      {numbers: 2, alpha: 1, beta: 0},
	"scaledtanh":  {numbers: 2, alpha: 1, beta: 1},
}

// activate applies the i-th function of direction d.
func (r *recurrent) activate(b *Builder, d, i int, x *graph.Value) *graph.Value {
	name, alpha, beta := r.activations[d][i], r.alpha[d][i], r.beta[d][i]
	if r.clip > 0 {
		x = b.Op("Max", b.Op("Min", x, b.Scalar(r.clip, x)), b.Scalar(-r.clip, x))
	}
	switch rule := recurrentFunctions[name]; {
	case name == "affine":
		return b.Add(b.Mul(x, b.Scalar(alpha, x)), b.Scalar(beta, x))
	case name == "scaledtanh":
		return b.Mul(b.Op("Tanh", b.Mul(x, b.Scalar(beta, x))), b.Scalar(alpha, x))
	case rule.numbers == 0:
		return b.Op(rule.op, x)
	default:
		attrs := []*onnx.Attr{onnx.AttrFloat("alpha", float32(alpha))}
		if rule.numbers > 1 {
			attrs = append(attrs, onnx.AttrFloat("beta", float32(beta)))
		}
		return b.OpA(rule.op, attrs, x)
	}
}

func inferRecurrent(n *graph.Node) error {
	maxIn, maxOut := 6, 2
	if n.Op == "LSTM" {
		maxIn, maxOut = 8, 3
	}
	stand := *n
	if n.Output(0) == nil { // Y may be left out
		stand.Outputs = []*graph.Value{{}}
	}
	if err := arity(&stand, 3, maxIn, max(maxOut, 1)); err != nil {
		return err
	}
	if len(n.Outputs) > maxOut {
		return fmt.Errorf("has %d outputs, want at most %d", len(n.Outputs), maxOut)
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 3, 5, 6, 7} {
		if err := sameType(n, 0, i); err != nil {
			return err
		}
	}
	if err := wantType(n, 4, onnx.Int32); err != nil {
		return err
	}
	r, err := readRecurrent(n)
	if err != nil {
		return err
	}
	dirs := len(r.backward)
	state := []int{dirs, r.batch, r.hidden}
	y := graph.Shape{r.length, dirs, r.batch, r.hidden}
	if r.batchFirst {
		state = []int{r.batch, dirs, r.hidden}
		y = graph.Shape{r.batch, r.length, dirs, r.hidden}
	}
	for i, want := range map[int][]int{
		1: {dirs, r.gates * r.hidden, r.input}, 2: {dirs, r.gates * r.hidden, r.hidden}, 3: {dirs, 2 * r.gates * r.hidden},
		4: {r.batch}, 5: state, 6: state, 7: {dirs, 3 * r.hidden},
	} {
		if err := wantShape(n, i, want...); err != nil {
			return err
		}
	}
	for i, shape := range []graph.Shape{y, state, state} {
		if err := setOutput(n, i, n.Inputs[0].DType, shape); err != nil {
			return err
		}
	}
	return nil
}

// recurrentBody runs each direction step by step.
func recurrentBody(b *Builder, n *graph.Node) (values, error) {
	r, err := readRecurrent(n)
	if err != nil {
		return nil, err
	}
	x := n.Inputs[0]
	if r.batchFirst {
		x = b.Transpose(x, 1, 0, 2)
	}
	steps := make([]values, r.length) // per step, per direction: [1 1 batch hidden]
	last := make([]values, 2)         // hidden and cell state, per direction
	for d := range r.backward {
		run := r.direction(b, n, d)
		projected := r.project(b, n, d, x)
		for i := range r.length {
			t := i
			if r.backward[d] {
				t = r.length - 1 - i
			}
			steps[t] = append(steps[t], b.Reshape(run.step(b, projected[t], t), 1, 1, r.batch, r.hidden))
		}
		last[0] = append(last[0], b.Reshape(run.h, 1, r.batch, r.hidden))
		if run.c != nil {
			last[1] = append(last[1], b.Reshape(run.c, 1, r.batch, r.hidden))
		}
		if b.Err != nil {
			return nil, b.Err
		}
	}
	rows := make(values, r.length)
	for t, s := range steps {
		rows[t] = b.Concat(1, s...)
	}
	out := values{b.Concat(0, rows...), b.Concat(0, last[0]...), nil}
	if len(last[1]) > 0 {
		out[2] = b.Concat(0, last[1]...)
	}
	if r.batchFirst {
		out[0] = b.Transpose(out[0], 2, 0, 1, 3)
		for i, v := range out[1:] {
			if v != nil {
				out[1+i] = b.Transpose(v, 1, 0, 2)
			}
		}
	}
	return out, nil
}

// of takes direction d of a value whose first axis is the directions.
func (r *recurrent) of(b *Builder, v *graph.Value, d int) *graph.Value {
	if b.Err != nil || v == nil {
		return nil
	}
	shape := v.Shape[1:]
	if len(r.backward) > 1 {
		v = b.Split(v, 0, 1, 1)[d]
	}
	return b.Reshape(v, shape...)
}

// project is X W^T plus the biases that are added to it, per step.
func (r *recurrent) project(b *Builder, n *graph.Node, d int, x *graph.Value) values {
	w := b.Transpose(r.of(b, n.Inputs[1], d), 1, 0)
	y := b.Op("MatMul", b.Reshape(x, r.length*r.batch, r.input), w)
	if bias := r.of(b, n.Input(3), d); bias != nil {
		wide := r.gates * r.hidden
		parts := b.Split(bias, 0, wide, wide)
		both := parts[1]
		if r.op == "GRU" && r.linearBeforeReset { // the recurrent bias of the last gate is reset too
			kept := b.Split(parts[1], 0, 2*r.hidden, r.hidden)
			both = b.Concat(0, kept[0], b.Zeros(kept[1]))
		}
		y = b.Add(y, b.Add(parts[0], both))
	}
	y = b.Reshape(y, r.length, r.batch, r.gates*r.hidden)
	ones := make([]int, r.length)
	for i := range ones {
		ones[i] = 1
	}
	list := b.Split(y, 0, ones...)
	for i, v := range list {
		list[i] = b.Reshape(v, r.batch, r.gates*r.hidden)
	}
	return list
}

// A direction is one pass over the sequence: its weights and present state.
type direction struct {
	*recurrent
	d       int
	r       *graph.Value // R^T, [hidden gates*hidden]
	h, c    *graph.Value // [batch hidden]
	peep    values       // of the input, output and forget gate
	resetB  *graph.Value // recurrent bias of GRU's last gate
	lengths *graph.Value // [batch 1]; nil: all have every step
}

func (r *recurrent) direction(b *Builder, n *graph.Node, d int) *direction {
	s := &direction{recurrent: r, d: d, r: b.Transpose(r.of(b, n.Inputs[2], d), 1, 0)}
	initial := func(i int) *graph.Value {
		v := n.Input(i)
		if v == nil {
			return b.Fill(0, n.Inputs[0], r.batch, r.hidden)
		}
		if r.batchFirst {
			v = b.Transpose(v, 1, 0, 2)
		}
		return r.of(b, v, d)
	}
	s.h = initial(5)
	if r.op == "LSTM" {
		s.c = initial(6)
		if p := r.of(b, n.Input(7), d); p != nil {
			s.peep = b.Split(p, 0, r.hidden, r.hidden, r.hidden)
		}
	}
	if bias := r.of(b, n.Input(3), d); bias != nil && r.op == "GRU" && r.linearBeforeReset {
		s.resetB = b.Split(bias, 0, 5*r.hidden, r.hidden)[1]
	}
	if v := n.Input(4); v != nil {
		s.lengths = b.Reshape(v, r.batch, 1)
	}
	return s
}

// step advances the state and returns the output of step t. A sequence that is
// over keeps its state and puts out zeros.
func (s *direction) step(b *Builder, x *graph.Value, t int) *graph.Value {
	var h, c *graph.Value
	switch s.op {
	case "RNN":
		h = s.activate(b, s.d, 0, b.Add(x, b.Op("MatMul", s.h, s.r)))
	case "GRU":
		h = s.gru(b, x)
	case "LSTM":
		h, c = s.lstm(b, x)
	}
	if s.lengths == nil {
		s.h, s.c = h, c
		return h
	}
	on := b.Op("Greater", s.lengths, b.Const(onnx.FromSlice([]int32{int32(t)})))
	s.h = b.Op("Where", on, h, s.h)
	if c != nil {
		s.c = b.Op("Where", on, c, s.c)
	}
	return b.Op("Where", on, h, b.Scalar(0, h))
}

// gru: z and r gate the hidden state, h' = (1-z) g(x + r h) + z h.
func (s *direction) gru(b *Builder, x *graph.Value) *graph.Value {
	cut := func(v *graph.Value, axis int) values { return b.Split(v, axis, s.hidden, s.hidden, s.hidden) }
	weights := b.Split(s.r, 1, 2*s.hidden, s.hidden)
	xs := cut(x, 1)
	hs := b.Split(b.Op("MatMul", s.h, weights[0]), 1, s.hidden, s.hidden)
	z := s.activate(b, s.d, 0, b.Add(xs[0], hs[0]))
	r := s.activate(b, s.d, 0, b.Add(xs[1], hs[1]))
	var inner *graph.Value
	if s.linearBeforeReset {
		inner = b.Op("MatMul", s.h, weights[1])
		if s.resetB != nil {
			inner = b.Add(inner, s.resetB)
		}
		inner = b.Mul(r, inner)
	} else {
		inner = b.Op("MatMul", b.Mul(r, s.h), weights[1])
	}
	g := s.activate(b, s.d, 1, b.Add(xs[2], inner))
	return b.Add(b.Mul(b.Sub(b.Scalar(1, z), z), g), b.Mul(z, s.h))
}

// lstm: c' = f c + i g, h' = o tanh(c'); gates in the order i, o, f, g.
func (s *direction) lstm(b *Builder, x *graph.Value) (h, c *graph.Value) {
	g := b.Split(b.Add(x, b.Op("MatMul", s.h, s.r)), 1, s.hidden, s.hidden, s.hidden, s.hidden)
	i, o, f := g[0], g[1], g[2]
	if s.peep != nil {
		i, f = b.Add(i, b.Mul(s.peep[0], s.c)), b.Add(f, b.Mul(s.peep[2], s.c))
	}
	i = s.activate(b, s.d, 0, i)
	if s.coupled {
		f = b.Sub(b.Scalar(1, i), i)
	} else {
		f = s.activate(b, s.d, 0, f)
	}
	c = b.Add(b.Mul(f, s.c), b.Mul(i, s.activate(b, s.d, 1, g[3])))
	if s.peep != nil {
		o = b.Add(o, b.Mul(s.peep[1], c))
	}
	return b.Mul(s.activate(b, s.d, 0, o), s.activate(b, s.d, 2, c)), c
}
