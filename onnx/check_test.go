package onnx

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The golden texts show what was read of each fixture.
func TestTextGolden(t *testing.T) {
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			golden := strings.TrimSuffix(path, ".onnx") + ".golden"
			got := Text(mustRead(t, path))
			if *update {
				writeBytes(t, golden, []byte(got))
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("text differs from %s:\n%s", golden, got)
			}
		})
	}
}

func TestCheckAcceptsFixtures(t *testing.T) {
	for _, path := range fixtures(t) {
		if err := Check(mustRead(t, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// small is a valid model: y = If(c) {x + w} else {x}, z = local.F(y).
func small() *Model {
	add := &Node{Name: "add", OpType: "Add", Inputs: []string{"x", "w"}, Outputs: []string{"t"}}
	same := &Node{Name: "same", OpType: "Identity", Inputs: []string{"x"}, Outputs: []string{"t"}}
	branch := func(n *Node) *Graph {
		return &Graph{Name: n.Name, Nodes: []*Node{n}, Outputs: []*ValueInfo{{Name: "t"}}}
	}
	return &Model{
		IRVersion: 8,
		Opsets:    []OpsetID{{Domain: "", Version: 17}, {Domain: "local", Version: 1}},
		Graph: &Graph{
			Name: "g",
			Nodes: []*Node{
				{Name: "if", OpType: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []*Attr{
					AttrGraph("then_branch", branch(add)), AttrGraph("else_branch", branch(same)),
				}},
				{Name: "call", OpType: "F", Domain: "local", Inputs: []string{"y", ""}, Outputs: []string{"z", ""},
					Attrs: []*Attr{AttrFloat("alpha", 1)}},
			},
			Initializers: []*Tensor{{Name: "w", DType: Float32, Shape: []int{2}, Data: []float32{1, 2}}},
			Inputs: []*ValueInfo{
				NewValueInfo("c", Bool), NewValueInfo("x", Float32, ParamDim("batch"), FixedDim(2)),
			},
			Outputs: []*ValueInfo{NewValueInfo("z", Float32, ParamDim("batch"), FixedDim(2))},
		},
		Functions: []*Function{{
			Name: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"b"}, AttrNames: []string{"alpha"},
			Opsets: []OpsetID{{Version: 17}},
			Nodes: []*Node{{Name: "elu", OpType: "Elu", Inputs: []string{"a"}, Outputs: []string{"b"},
				Attrs: []*Attr{AttrRef("alpha", "alpha", AttrTypeFloat)}}},
		}},
	}
}

func TestCheck(t *testing.T) {
	if err := Check(small()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*Model)
		want string // all problems, joined by " | "
	}{
		{"no graph", func(m *Model) { m.Graph = nil }, `: graph is missing`},
		{"no versions", func(m *Model) { m.IRVersion, m.Opsets[0].Version = 0, 0 },
			`: ir_version is missing | opset_import[0]: version is 0 | graph.initializer[0] "w": must be a graph input, too, in ir_version 0`},
		{"opset twice", func(m *Model) { m.Opsets = append(m.Opsets, OpsetID{Domain: "ai.onnx", Version: 17}) },
			`opset_import[2] "ai.onnx": domain is imported twice`},
		{"domain not imported", func(m *Model) { m.Graph.Nodes[1].Domain = "other" },
			`graph.node[1] "call": domain "other" of operator F is not in opset_import`},
		{"no operator", func(m *Model) { m.Graph.Nodes[1].OpType = "" }, `graph.node[1] "call": op_type is missing`},
		{"order", func(m *Model) { n := m.Graph.Nodes; n[0], n[1] = n[1], n[0] },
			`graph.node[0] "call": input 0, "y", is not defined before the node`},
		{"two producers", func(m *Model) { m.Graph.Nodes[1].Outputs[0] = "y" },
			`graph.node[1] "call": "y" is defined already | graph.output[0] "z": no node yields it`},
		{"name in a branch", func(m *Model) {
			b := m.Graph.Nodes[0].Attr("then_branch").G
			b.Nodes[0].Outputs[0], b.Outputs[0].Name = "x", "x"
		}, `graph.node[0] "if".attribute[0] "then_branch".graphs[0] "add".node[0] "add": "x" is defined already`},
		{"name from the other branch", func(m *Model) {
			m.Graph.Nodes[0].Attr("else_branch").G.Nodes[0].Inputs[0] = "u"
		}, `graph.node[0] "if".attribute[1] "else_branch".graphs[0] "same".node[0] "same": input 0, "u", is not defined before the node`},
		{"output of nobody", func(m *Model) { m.Graph.Outputs[0].Name = "q" }, `graph.output[0] "q": no node yields it`},
		{"output twice", func(m *Model) { m.Graph.Outputs = append(m.Graph.Outputs, m.Graph.Outputs[0]) },
			`graph.output[1] "z": is an output twice`},
		{"input without type", func(m *Model) { m.Graph.Inputs[0].Type = nil }, `graph.input[0] "c": type is missing`},
		{"input without element type", func(m *Model) { m.Graph.Inputs[0].Type.Tensor.Elem = Undefined },
			`graph.input[0] "c".type: elem_type is missing`},
		{"negative extent", func(m *Model) { m.Graph.Inputs[1].Type.Tensor.Shape[1].Value = -1 },
			`graph.input[1] "x".type: shape has the extent -1 on axis 1`},
		{"sequence of nothing", func(m *Model) { m.Graph.Inputs[0].Type = &Type{Sequence: &SequenceType{}} },
			`graph.input[0] "c".type: elem_type is missing`},
		{"data", func(m *Model) { m.Graph.Initializers[0].Data = []float32{1} },
			`graph.initializer[0] "w": data have 1 elements, shape [2] needs 2`},
		{"initializer twice", func(m *Model) { m.Graph.Initializers = append(m.Graph.Initializers, m.Graph.Initializers[0]) },
			`graph.initializer[1] "w": "w" is defined already`},
		{"default twice", func(m *Model) {
			w := m.Graph.Initializers[0]
			m.Graph.Inputs = append(m.Graph.Inputs, NewValueInfo("w", Float32, FixedDim(2)))
			m.Graph.Initializers = []*Tensor{w, w}
		}, `graph.initializer[1] "w": "w" is defined already`},
		{"sparse", func(m *Model) {
			s := Sparsify(FromSlice([]float32{0, 1, 2}, 3))
			s.Values.Name = "s"
			Of[int64](s.Indices)[1] = 1
			m.Graph.SparseInitializers = []*SparseTensor{s}
		}, `graph.sparse_initializer[0] "s": indices[1] is position 1 after 1: not sorted or not unique`},
		{"attribute twice", func(m *Model) { n := m.Graph.Nodes[1]; n.Attrs = append(n.Attrs, n.Attrs[0]) },
			`graph.node[1] "call".attribute[1] "alpha": is there twice`},
		{"attribute without value", func(m *Model) { m.Graph.Nodes[1].Attrs[0].Type = AttrTypeTensor },
			`graph.node[1] "call".attribute[0] "alpha": type is tensor but there is no such value`},
		{"attribute without type", func(m *Model) { m.Graph.Nodes[1].Attrs[0].Type = AttrTypeUndefined },
			`graph.node[1] "call".attribute[0] "alpha": type is missing`},
		{"reference in a graph", func(m *Model) { m.Graph.Nodes[1].Attrs[0].RefName = "alpha" },
			`graph.node[1] "call".attribute[0] "alpha": refers to "alpha", which is no attribute of the function`},
		{"reference to nothing", func(m *Model) { m.Functions[0].AttrNames = nil },
			`functions[0] "F".node[0] "elu".attribute[0] "alpha": refers to "alpha", which is no attribute of the function`},
		{"function output", func(m *Model) { m.Functions[0].Outputs[0] = "w" }, `functions[0] "F".output[0] "w": no node yields it`},
		{"function twice", func(m *Model) { m.Functions = append(m.Functions, m.Functions[0]) }, `functions[1] "F": is defined twice`},
		{"recursion", func(m *Model) {
			f := m.Functions[0]
			f.Nodes[0] = &Node{OpType: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"b"}}
		}, `functions[0] "F": calls itself`},
		{"metadata", func(m *Model) { m.Metadata = []StringPair{{Key: "k"}, {Key: "k"}} },
			`metadata_props[1] "k": key is there twice`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := small()
			test.edit(m)
			err := Check(m)
			var checkErr *CheckError
			if !errors.As(err, &checkErr) {
				t.Fatalf("error %v", err)
			}
			requireTyped(t, err)
			got := messages(checkErr.Problems, func(p *FormatError) string { return p.Path + ": " + p.Problem })
			if s := strings.Join(got, " | "); s != test.want {
				t.Errorf("problems\n%s\nwant\n%s", s, test.want)
			}
		})
	}
}
