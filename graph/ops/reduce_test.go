package ops_test

import "github.com/unprune/unprune/onnx"

var _ = addCases(reduceCases()...)

func reduceCases() (list []Case) {
	for op, in := range map[string]func(...int) input{
		"ReduceSum": normal, "ReduceMean": normal, "ReduceSumSquare": normal, "ReduceL2": normal,
		"ReduceLogSumExp": normal, "ReduceL1": distinct, "ReduceMax": distinct, "ReduceMin": distinct,
		"ReduceLogSum": func(shape ...int) input { return uniform(0.5, 2, shape...) },
		"ReduceProd":   normal,
	} {
		c := func(name string, opset int, x input, more []input, at ...*onnx.Attr) {
			diff := []int{0}
			if op == "ReduceProd" {
				diff = nil
			}
			list = append(list, Case{Op: op, Name: name, Opset: opset, In: append([]input{x}, more...), Attrs: at, Diff: diff})
		}
		c("axis 1 goes", 20, in(2, 3, 4), []input{ints(1)}, onnx.AttrInt("keepdims", 0))
		c("last axes stay", 20, in(2, 3, 4), []input{ints(-1, 1)})
		c("all", 20, in(2, 3), nil, onnx.AttrInt("keepdims", 0))
		c("none", 20, in(2, 3), []input{omit}, onnx.AttrInt("noop_with_empty_axes", 1))
		c("opset 11", 11, in(2, 3, 4), nil, onnx.AttrInts("axes", 0, 2))
	}
	for _, op := range []string{"ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare"} {
		c := Case{Op: op, Name: "integers", In: []input{indices(-5, 5, 3, 4), ints(0)}}
		if op == "ReduceL1" || op == "ReduceSumSquare" {
			c.In[0] = tensorOf(onnx.FromSlice([]int32{1, -2, 3, -4, 5, -6}, 3, 2))
		}
		list = append(list, c)
	}
	return list
}

var _ = addCases(
	Case{Op: "ArgMax", In: []input{distinct(3, 4)}},
	Case{Op: "ArgMax", Name: "last axis goes", Attrs: attrs(onnx.AttrInt("axis", -1), onnx.AttrInt("keepdims", 0)), In: []input{distinct(3, 4)}},
	Case{Op: "ArgMax", Name: "first of ties", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{coins(3, 6)}},
	Case{Op: "ArgMax", Name: "last of ties", Attrs: attrs(onnx.AttrInt("axis", 1), onnx.AttrInt("select_last_index", 1)), In: []input{coins(3, 6)}},
	Case{Op: "ArgMin", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{coins(3, 6, 2)}},
	Case{Op: "TopK", In: []input{distinct(3, 5), ints(2)}, NOut: 2, Diff: []int{0}},
	Case{Op: "TopK", Name: "smallest, first axis", Attrs: attrs(onnx.AttrInt("axis", 0), onnx.AttrInt("largest", 0)), In: []input{distinct(5, 3), ints(2)}, NOut: 2, Diff: []int{0}},
	Case{Op: "TopK", Name: "opset 7", Opset: 7, Attrs: attrs(onnx.AttrInt("k", 2)), In: []input{distinct(3, 5)}, NOut: 2},
	Case{Op: "CumSum", In: []input{normal(2, 3, 4), intScalar(1)}, Diff: []int{0}},
	Case{Op: "CumSum", Name: "reverse", Attrs: attrs(onnx.AttrInt("reverse", 1)), In: []input{normal(2, 3), intScalar(-1)}, Diff: []int{0}},
	Case{Op: "CumSum", Name: "exclusive", Attrs: attrs(onnx.AttrInt("exclusive", 1)), In: []input{normal(2, 3), intScalar(0)}, Diff: []int{0}},
	Case{Op: "CumSum", Name: "integers", Attrs: attrs(onnx.AttrInt("exclusive", 1), onnx.AttrInt("reverse", 1)), In: []input{indices(-5, 5, 2, 3), intScalar(1)}},
)
