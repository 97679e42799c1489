package pass_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// model is a file of these nodes from x [N 4] to the output y.
func model(nodes ...*onnx.Node) *onnx.Model {
	x := onnx.NewTensorType(onnx.Float32)
	x.Tensor.Shape = []onnx.Dim{onnx.ParamDim("n"), onnx.FixedDim(4)}
	return &onnx.Model{
		IRVersion: 10, Opsets: []onnx.OpsetID{{Version: 20}, {Domain: "local", Version: 1}},
		Graph: &onnx.Graph{
			Name: "hostile", Nodes: nodes,
			Inputs:  []*onnx.ValueInfo{{Name: "x", Type: x}},
			Outputs: []*onnx.ValueInfo{{Name: "y", Type: onnx.NewTensorType(onnx.Float32)}},
		},
	}
}

func op(name, out string, in ...string) *onnx.Node {
	return &onnx.Node{OpType: name, Name: out, Inputs: in, Outputs: []string{out}}
}

func with(n *onnx.Node, domain string, attrs ...*onnx.Attr) *onnx.Node {
	n.Domain, n.Attrs = domain, attrs
	return n
}

// row is n nodes one behind the other, from x to y.
func row(operator string, n int) []*onnx.Node {
	nodes := make([]*onnx.Node, n)
	from := "x"
	for i := range nodes {
		to := fmt.Sprint("v", i)
		if i == n-1 {
			to = "y"
		}
		nodes[i] = op(operator, to, from)
		from = to
	}
	return nodes
}

// TestHostileModels: files that ask for endless work or memory are refused
// with a reason, within a second and little memory.
func TestHostileModels(t *testing.T) {
	scalar := func(name string, x int64) *onnx.Tensor {
		c := onnx.FromSlice([]int64{x})
		c.Name = name
		return c
	}
	loop := func(count int64, body *onnx.Graph) *onnx.Model {
		m := model(with(op("Loop", "y", "count", "", "x"), "", onnx.AttrGraph("body", body)))
		m.Graph.Initializers = []*onnx.Tensor{scalar("count", count)}
		return m
	}
	info := func(name string) *onnx.ValueInfo { return &onnx.ValueInfo{Name: name} }
	body := &onnx.Graph{
		Nodes: []*onnx.Node{op("Relu", "w", "v"), op("Identity", "on2", "on")}, Inputs: []*onnx.ValueInfo{info("i"), info("on"), info("v")},
		Outputs: []*onnx.ValueInfo{info("on2"), info("w")},
	}
	nested := body
	for range 3 {
		nested = &onnx.Graph{
			Nodes: []*onnx.Node{
				with(op("Loop", "w", "count", "", "v"), "", onnx.AttrGraph("body", nested)), op("Identity", "on2", "on"),
			},
			Inputs: body.Inputs, Outputs: body.Outputs,
		}
	}
	flat := &onnx.Graph{Nodes: []*onnx.Node{op("Relu", "w", "x")}, Outputs: []*onnx.ValueInfo{info("w")}}
	deep := flat
	for range 64 {
		deep = &onnx.Graph{Nodes: []*onnx.Node{with(op("If", "w", "on"), "", onnx.AttrGraph("then_branch", deep), onnx.AttrGraph("else_branch", flat))}, Outputs: []*onnx.ValueInfo{info("w")}}
	}
	functions := func(m *onnx.Model, list ...*onnx.Function) *onnx.Model {
		m.Functions = list
		return m
	}
	call := func(f, out, in string) *onnx.Node { return with(op(f, out, in), "local") }
	function := func(name string, nodes ...*onnx.Node) *onnx.Function {
		return &onnx.Function{Domain: "local", Name: name, Inputs: []string{"a"}, Outputs: []string{"b"}, Nodes: nodes,
			Opsets: []onnx.OpsetID{{Version: 20}, {Domain: "local", Version: 1}}}
	}
	var doubling []*onnx.Function
	for i := range 40 {
		doubling = append(doubling, function(fmt.Sprint("f", i), call(fmt.Sprint("f", i+1), "m", "a"), call(fmt.Sprint("f", i+1), "b", "m")))
	}
	doubling = append(doubling, function("f40", op("Relu", "b", "a")))
	weight := onnx.NewTensor(onnx.Float32, 4)
	weight.Name = "w"
	shared := model()
	for i := range 100_000 {
		shared.Graph.Nodes = append(shared.Graph.Nodes, op("Add", fmt.Sprint("s", i), "x", "w"))
	}
	shared.Graph.Nodes = append(shared.Graph.Nodes, op("Relu", "y", "s0"))
	shared.Graph.Initializers = []*onnx.Tensor{weight}
	reshape := model(op("Reshape", "y", "x", "to"))
	reshape.Graph.Initializers = []*onnx.Tensor{{Name: "to", DType: onnx.Int64, Shape: []int{3}, Data: []int64{1 << 40, 1 << 40, 1 << 40}}}
	expand := model(op("Expand", "big", "w", "to"), op("ReduceSum", "sum", "big"), op("Add", "y", "x", "sum"))
	expand.Graph.Initializers = []*onnx.Tensor{weight, {Name: "to", DType: onnx.Int64, Shape: []int{2}, Data: []int64{1 << 33, 4}}}
	wide := model(op("Relu", "y", "x"))
	wide.Graph.Inputs[0].Type.Tensor.Shape = []onnx.Dim{onnx.ParamDim("n"), onnx.FixedDim(1 << 62)}

	on := onnx.FromSlice([]bool{true})
	on.Name = "on"
	branches := model(with(op("If", "y", "on"), "", onnx.AttrGraph("then_branch", deep), onnx.AttrGraph("else_branch", flat)))
	branches.Graph.Initializers = []*onnx.Tensor{on}

	filter := onnx.NewTensor(onnx.Float32, 4, 1, 1)
	filter.Name = "w"
	overfull := model(op("Shape", "s", "w"), op("ConstantOfShape", "zero", "s"), op("Conv", "y", "x", "w", "zero"))
	overfull.Graph.Nodes[0].Outputs = []string{"s", "more"}
	overfull.Graph.Initializers = []*onnx.Tensor{filter}

	// many is a model in which 4,000 nodes make 64 k elements each of one constant.
	many := func(dt onnx.DType, node func(i int) *onnx.Node) *onnx.Model {
		m := model(op("Relu", "y", "x"))
		w := onnx.NewTensor(dt, 1<<14, 4)
		w.Name = "w"
		m.Graph.Initializers = []*onnx.Tensor{w, {Name: "to", DType: onnx.Int64, Shape: []int{2}, Data: []int64{1 << 14, 4}}}
		for i := range 4000 {
			n, out := node(i), fmt.Sprint("out", i)
			product := op("MatMul", out, "x", n.Outputs[0]+"t")
			m.Graph.Nodes = append(m.Graph.Nodes, n, with(op("Transpose", n.Outputs[0]+"t", n.Outputs[0]), "", onnx.AttrInts("perm", 1, 0)), product)
			m.Graph.Outputs = append(m.Graph.Outputs, &onnx.ValueInfo{Name: out})
		}
		return m
	}
	made := func(i int) string { return fmt.Sprint("made", i) }
	called := functions(model(), function("half", with(op("Constant", "c"), "", onnx.AttrTensor("value", onnx.NewTensor(onnx.Float16, 1<<16))), op("Identity", "b", "c")))
	for i := range 4000 {
		out := fmt.Sprint("out", i)
		called.Graph.Nodes = append(called.Graph.Nodes, call("half", made(i), "x"), op("Neg", out, made(i)))
		called.Graph.Outputs = append(called.Graph.Outputs, &onnx.ValueInfo{Name: out})
	}
	called.Graph.Nodes = append(called.Graph.Nodes, op("Relu", "y", "x"))

	for _, tt := range []struct {
		name string
		m    *onnx.Model
		want string // in the error; empty: it must be taken
	}{
		{"a function that calls itself", functions(model(call("f", "y", "x")), function("f", call("f", "b", "a"))), "calls itself"},
		{"two functions that call each other", functions(model(call("f", "y", "x")), function("f", call("g", "b", "a")), function("g", call("f", "b", "a"))), "calls itself"},
		{"functions that double forty times", functions(model(call("f0", "y", "x")), doubling...), "more than"},
		{"a loop without end", loop(1<<62, body), "more than"},
		{"loops in loops", loop(1000, nested), "more than"},
		{"branches 64 deep", branches, "deep"},
		{"a cycle", model(op("Relu", "y", "z"), op("Relu", "z", "y")), "cycle"},
		{"too many nodes", model(row("Relu", 1<<18+1)...), "more than"},
		{"a long chain", model(row("Relu", 200_000)...), ""},
		{"a weight that many nodes share", shared, ""},
		{"a target beyond all bounds", reshape, "too large"},
		{"an expansion beyond all bounds", expand, "more than"},
		{"an extent beyond all bounds", wide, ""},
		{"no input where one must be", model(op("Softmax", "y", "")), "missing"},
		{"more results than there are", overfull, "outputs"},
		{"constants made of an extent", many(onnx.Float32, func(i int) *onnx.Node { return op("ConstantOfShape", made(i), "to") }), ""},
		{"expressions of one weight", many(onnx.Float32, func(i int) *onnx.Node { return op("Exp", made(i), "w") }), ""},
		{"masks of one weight", many(onnx.Float32, func(i int) *onnx.Node { return op("Mul", made(i), "w", "w") }), ""},
		{"types of one constant", many(onnx.Int64, func(i int) *onnx.Node { return with(op("Cast", made(i), "w"), "", onnx.AttrInt("to", 1)) }), ""},
		{"a half-precision constant of a function that is called often", called, "memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			im, err := pass.Import(tt.m)
			if err == nil {
				_, err = pass.Specialise(im.Graph, pass.Target{Batch: 2})
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			switch {
			case tt.want == "" && err != nil:
				if !strings.Contains(err.Error(), "1 <<") && !strings.Contains(err.Error(), "elements") && !strings.Contains(err.Error(), "extent") {
					t.Errorf("refused: %v", err)
				}
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %.300v, want one that says %q", err, tt.want)
			}
			if took > time.Minute { // a second or two, but the machine may be busy; what is quadratic takes many minutes
				t.Errorf("took %v", took)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
				t.Errorf("allocated %d MB", grown>>20)
			}
			t.Logf("%s: %v, %d MB", tt.name, took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

// FuzzImport: whatever the bytes, import and specialisation end soon, with a
// graph or an error.
func FuzzImport(f *testing.F) {
	for _, pattern := range []string{"../../models/testdata/duties/*.onnx", "../../models/testdata/dialects/lenet*.onnx"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) < 1<<15 {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnx.Decode(b, nil)
		if err != nil || m.Graph == nil {
			return
		}
		for _, o := range []pass.Options{{}, {KeepTied: true, KeepExpressions: true}} {
			im, err := o.Import(m)
			if err != nil {
				return
			}
			for _, training := range []bool{false, true} {
				if _, err := pass.Specialise(im.Graph, pass.Target{Batch: 3, Training: training}); err != nil {
					return
				}
			}
		}
	})
}
