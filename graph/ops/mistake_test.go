package ops_test

import (
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A mistake is a node that must be refused, and what the error must say.
type mistake struct {
	Case
	want string
}

var mistakes []mistake

// addMistakes registers the mistakes of a file, as addCases does its cases.
func addMistakes(list ...mistake) bool {
	mistakes = append(mistakes, list...)
	return true
}

// TestMistakes expects the error from Infer, or from the kernel where it
// depends on numbers that are not constant.
func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.Op+"/"+m.want, func(t *testing.T) {
			s, err := m.sample(onnx.Float32)
			if err == nil {
				for _, v := range s.in {
					if v != nil && v.Const == nil {
						v.Const = s.feeds[v.Name]
					}
				}
				_, err = ops.Eval(s.node)
			}
			if err == nil || !strings.Contains(err.Error(), m.want) {
				t.Errorf("error %v, want one that says %q", err, m.want)
			}
		})
	}
}

// What is wrong with shapes, indices and labels.
var _ = addMistakes([]mistake{
	{Case{Op: "Add", In: []input{normal(2, 3), normal(4)}}, "do not broadcast"},
	{Case{Op: "Add", In: []input{normal(2), indices(0, 3, 2)}}, "is int64, want float32"},
	{Case{Op: "Add", In: []input{normal(2)}}, "input 1 is missing"},
	{Case{Op: "Add", In: []input{normal(2), normal(2), normal(2)}}, "has 3 inputs, want at most 2"},
	{Case{Op: "Div", In: []input{indices(1, 3, 2), tensorOf(onnx.FromSlice([]int64{1, 0}, 2))}}, "division by zero"},
	{Case{Op: "Mod", In: []input{normal(2), normal(2)}}, "needs fmod=1"},
	{Case{Op: "Where", In: []input{normal(2), normal(2), normal(2)}}, "want bool"},
	{Case{Op: "PRelu", In: []input{normal(2, 3), normal(2, 2, 3)}}, "slope of shape [2 2 3] does not fit"},
	{Case{Op: "Clip", In: []input{normal(2), normal(2)}}, "want a scalar"},
	{Case{Op: "Gelu", Attrs: attrs(onnx.AttrString("approximate", "half")), In: []input{normal(2)}}, `approximate is "half"`},
	{Case{Op: "MatMul", In: []input{normal(2, 3), normal(4, 5)}}, "inner extents 3 and 4 differ"},
	{Case{Op: "MatMul", In: []input{normal(), normal(4)}}, "a scalar has no matrix product"},
	{Case{Op: "Gemm", In: []input{normal(2, 3, 4), normal(4, 5)}}, "want matrices"},
	{Case{Op: "Gemm", In: []input{normal(2, 3), normal(3, 5), normal(2)}}, "input C of shape [2] does not fit a product of 2 by 5"},
	{Case{Op: "Softmax", Attrs: attrs(axisAttr(2)), In: []input{normal(2, 3)}}, "axis 2 is out of range for rank 2"},
	{Case{Op: "ReduceSum", In: []input{normal(2, 3), ints(1, -1)}}, "name one twice"},
	{Case{Op: "ReduceSum", In: []input{normal(2, 3), indices(0, 1, 1)}}, "must be a constant"},
	{Case{Op: "ReduceSum", Attrs: attrs(onnx.AttrInts("axes", 0)), In: []input{normal(2, 3)}}, "which is input 1 from version 13 on"},
	{Case{Op: "ReduceMax", Opset: 13, In: []input{normal(2, 3), ints(0)}}, "which is the attribute axes before version 18"},
	{Case{Op: "Clip", Opset: 10, In: []input{normal(2), scalarOf(0)}}, "bounds are attributes before version 11"},
	{Case{Op: "Add", Opset: 6, In: []input{normal(2), normal(2)}}, "operator set 6 is older than the first definition"},
	{Case{Op: "ReduceMean", In: []input{indices(0, 3, 2)}}, "is int64, want one of"},
	{Case{Op: "TopK", NOut: 2, In: []input{normal(3), ints(4)}}, "want one number from 0 to 3"},
	{Case{Op: "ArgMax", In: []input{normal(0, 3)}}, "axis 0 has no elements"},
	{Case{Op: "Reshape", In: []input{normal(2, 3), ints(4)}}, "needs 4 elements, the input has 6"},
	{Case{Op: "Reshape", In: []input{normal(2, 3), ints(-1, -1)}}, "more than one -1"},
	{Case{Op: "Reshape", In: []input{normal(2, 3), ints(4, -1)}}, "6 elements do not divide"},
	{Case{Op: "Reshape", In: []input{normal(6), ints(2, 0)}}, "copies extent 1"},
	{Case{Op: "Reshape", In: []input{normal(6), ints(1<<40, 1<<40)}}, "too large"},
	{Case{Op: "Squeeze", In: []input{normal(2, 3), ints(1)}}, "has extent 3, want 1"},
	{Case{Op: "Unsqueeze", In: []input{normal(2, 3)}}, "axes are missing"},
	{Case{Op: "Transpose", Attrs: attrs(onnx.AttrInts("perm", 0, 0)), In: []input{normal(2, 3)}}, "not a permutation"},
	{Case{Op: "Expand", In: []input{normal(3), ints(1<<20, 1<<20, 3)}}, "has more than"},
	{Case{Op: "Concat", Attrs: attrs(axisAttr(0)), In: []input{normal(2, 3), normal(2, 4)}}, "extent 4 on axis 1, input 0 has 3"},
	{Case{Op: "Split", NOut: 2, In: []input{normal(5), ints(2, 2)}}, "do not make up extent 5"},
	{Case{Op: "Split", NOut: 2, Opset: 13, In: []input{normal(5)}}, "does not divide into 2 equal parts"},
	{Case{Op: "Tile", In: []input{normal(2, 3), ints(2)}}, "do not fit rank 2"},
	{Case{Op: "DepthToSpace", Attrs: attrs(onnx.AttrInt("blocksize", 3)), In: []input{normal(1, 8, 2, 2)}}, "blocksize 3 does not fit"},
	{Case{Op: "Slice", In: []input{normal(4), ints(0), ints(4), ints(0), ints(0)}}, "step 0 on axis 0"},
	{Case{Op: "Slice", In: []input{normal(4), ints(0, 1), ints(4)}}, "have lengths 2, 1, 2 and 2"},
	{Case{Op: "Pad", In: []input{normal(4), ints(-3, -2)}}, "cut more than extent 4"},
	{Case{Op: "Pad", Attrs: attrs(onnx.AttrString("mode", "reflect")), In: []input{normal(2), ints(2, 0)}}, "mode reflect cannot pad extent 2"},
	{Case{Op: "Gather", In: []input{normal(3, 2), tensorOf(onnx.FromSlice([]int64{0, 3}, 2))}}, "index 3 is out of range for extent 3"},
	{Case{Op: "GatherND", In: []input{normal(3, 2), indices(0, 2, 4, 3)}}, "coordinates of length 3"},
	{Case{Op: "ScatterND", In: []input{normal(3, 2), indices(0, 3, 4, 1), normal(4)}}, "updates have shape [4], want [4 2]"},
	{Case{Op: "ScatterElements", Attrs: attrs(onnx.AttrString("reduction", "xor")), In: []input{normal(3), indices(0, 3, 2), normal(2)}}, `reduction is "xor"`},
	{Case{Op: "Cast", In: []input{normal(2)}}, "attribute to is missing"},
	{Case{Op: "Cast", Attrs: attrs(onnx.AttrInt("to", 99)), In: []input{normal(2)}}, "cannot convert float32"},
	{Case{Op: "Constant"}, "no value among the attributes"},
	{Case{Op: "Range", In: []input{intScalar(0), intScalar(5), intScalar(0)}}, "has no length"},
	{Case{Op: "OneHot", In: []input{indices(0, 3, 2), intScalar(-1), normal(2)}}, "depth -1 is out of range"},
	{Case{Op: "SoftmaxCrossEntropyLoss", In: []input{normal(4, 3), indices(0, 3, 5)}}, "labels have shape [5]"},
	{Case{Op: "SoftmaxCrossEntropyLoss", In: []input{normal(2, 3), tensorOf(onnx.FromSlice([]int64{0, 3}, 2))}}, "label 3 at position 1 is not a class"},
	{Case{Op: "SoftmaxCrossEntropyLossGrad", Domain: ops.Domain, In: []input{normal(), normal(2, 3), tensorOf(onnx.FromSlice([]int64{0, -1}, 2))}}, "label -1 at position 1 is not a class"},
}...)

// TestBatchedMatMulOnTeams: small products are dealt out to threads, large
// ones spread over them; the bits are the same.
func TestBatchedMatMulOnTeams(t *testing.T) {
	team := kernel.NewTeam(3)
	defer team.Close()
	for _, shape := range [][2]graph.Shape{{{70, 5, 7}, {70, 7, 3}}, {{3, 170, 170}, {3, 170, 170}}} {
		g := graph.New("matmul", defaultOpset)
		b := ops.NewBuilder(g)
		rng := stream("matmul")
		y := b.Op("MatMul", b.Const(normal(shape[0]...).make(rng, onnx.Float32)), b.Const(normal(shape[1]...).make(rng, onnx.Float32)))
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		n := y.Producer()
		want, err := ops.Eval(n)
		if err != nil {
			t.Fatal(err)
		}
		op, err := ops.Lookup(n)
		if err != nil {
			t.Fatal(err)
		}
		got := onnx.NewTensor(y.DType, y.Shape...)
		run, err := op.Forward(&ops.Call{
			Node: n, In: []*onnx.Tensor{n.Inputs[0].Const, n.Inputs[1].Const}, Out: []*onnx.Tensor{got}, Team: team,
		})
		if err == nil {
			err = run()
		}
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "three threads", 0, got, want[0], 0)
	}
}
