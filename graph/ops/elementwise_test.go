package ops_test

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
)

var _ = addCases(
	Case{Op: "Add", In: []input{normal(2, 3), normal(2, 3)}, Diff: []int{0, 1}},
	Case{Op: "Add", Name: "bias per channel", In: []input{normal(2, 3, 2, 2), normal(3, 1, 1)}, Diff: []int{0, 1}},
	Case{Op: "Add", Name: "opset 7, both repeated", Opset: 7, In: []input{normal(2, 1, 3), normal(4, 1)}, Diff: []int{0, 1}},
	Case{Op: "Add", Name: "integers", In: []input{indices(-9, 9, 2, 3), indices(-9, 9, 3)}},
	Case{Op: "Add", Name: "empty", In: []input{normal(0, 3), normal(1, 3)}},
	Case{Op: "Sub", In: []input{normal(2, 3), normal(3)}, Diff: []int{0, 1}},
	Case{Op: "Sub", Name: "scalar left", In: []input{scalarOf(1), normal(2, 3)}, Diff: []int{0, 1}},
	Case{Op: "Sub", Name: "int32", In: []input{tensorOf(onnx.FromSlice([]int32{5, -7}, 2)), tensorOf(onnx.FromSlice([]int32{2}, 1))}},
	Case{Op: "Mul", In: []input{normal(2, 3), normal(2, 1)}, Diff: []int{0, 1}},
	Case{Op: "Mul", Name: "scalar", In: []input{normal(2, 3), scalarOf(0.5)}, Diff: []int{0, 1}},
	Case{Op: "Mul", Name: "integers", In: []input{indices(-9, 9, 2, 3), intScalar(-3)}},
	Case{Op: "Div", In: []input{normal(2, 3), uniform(0.5, 2, 3)}, Diff: []int{0, 1}},
	Case{Op: "Div", Name: "integers round to zero", In: []input{
		tensorOf(onnx.FromSlice([]int64{7, -7, 7, -7}, 4)), tensorOf(onnx.FromSlice([]int64{2, 2, -2, -2}, 4)),
	}},
	Case{Op: "Pow", In: []input{uniform(0.5, 2, 2, 3), uniform(-1, 2, 3)}, Diff: []int{0, 1}},
	Case{Op: "Pow", Name: "square", In: []input{normal(2, 3), fixed(scalarOf(2))}, Diff: []int{0}},
	Case{Op: "Pow", Name: "cube", In: []input{normal(2, 3), fixed(scalarOf(3))}, Diff: []int{0}},
	Case{Op: "Pow", Name: "linear", In: []input{normal(2, 3), fixed(scalarOf(1))}, Diff: []int{0}},
	Case{Op: "Pow", Name: "integer exponent", In: []input{uniform(0.5, 2, 2, 3), indices(-2, 3, 3)}, Diff: []int{0}},
	Case{Op: "Pow", Name: "integers", In: []input{indices(-3, 4, 2, 3), indices(0, 5, 3)}},
	Case{Op: "Mod", In: []input{
		tensorOf(onnx.FromSlice([]int64{7, -7, 7, -7}, 4)), tensorOf(onnx.FromSlice([]int64{3, 3, -3, -3}, 4)),
	}},
	Case{Op: "Mod", Name: "fmod", Attrs: attrs(onnx.AttrInt("fmod", 1)), In: []input{
		tensorOf(onnx.FromSlice([]int64{7, -7, 7, -7}, 4)), tensorOf(onnx.FromSlice([]int64{3, 3, -3, -3}, 4)),
	}},
	Case{Op: "Mod", Name: "fmod of floats", Attrs: attrs(onnx.AttrInt("fmod", 1)), In: []input{uniform(-5, 5, 6), uniform(1, 2, 6)}},
	Case{Op: "Max", In: []input{distinct(4, 3), numbersOf([]float32{0.01, -0.21, 0.11}, 3)}, Diff: []int{0, 1}},
	Case{Op: "Max", Name: "three", In: []input{normal(2, 3), normal(2, 3), normal(3)}, Diff: []int{0, 1, 2}},
	Case{Op: "Max", Name: "one", In: []input{normal(2, 3)}, Diff: []int{0}},
	Case{Op: "Max", Name: "integers", In: []input{indices(-9, 9, 2, 3), indices(-9, 9, 3)}},
	Case{Op: "Min", In: []input{distinct(4, 3), numbersOf([]float32{0.01, -0.21, 0.11}, 3)}, Diff: []int{0, 1}},
	Case{Op: "Min", Name: "integers", In: []input{indices(-9, 9, 2, 3), indices(-9, 9, 3)}},
	Case{Op: "Sum", In: []input{normal(2, 3), normal(3), normal(2, 1)}, Diff: []int{0, 1, 2}},
	Case{Op: "Mean", In: []input{normal(2, 3), normal(3), normal(2, 1)}, Diff: []int{0, 1, 2}},
	Case{Op: "Where", In: []input{flags(2, 3), normal(2, 3), normal(3)}, Diff: []int{1, 2}},
	Case{Op: "Where", Name: "repeated condition", In: []input{flags(2, 1), normal(3), scalarOf(0)}, Diff: []int{1, 2}},
	Case{Op: "Where", Name: "integers", In: []input{flags(2, 3), indices(0, 9, 3), intScalar(-1)}},
)

var _ = addCases(unaryCases()...)

func unaryCases() (list []Case) {
	for _, op := range []string{"Neg", "Exp", "Sin", "Cos", "Erf", "Tanh", "Sigmoid"} {
		list = append(list, Case{Op: op, In: []input{normal(3, 7)}, Diff: []int{0}})
	}
	for _, op := range []string{"Abs", "Sign", "Floor", "Ceil", "Round"} {
		list = append(list, Case{Op: op, In: []input{distinct(3, 7)}, Diff: []int{0}})
	}
	for _, op := range []string{"Sqrt", "Log", "Reciprocal"} {
		list = append(list, Case{Op: op, In: []input{uniform(0.5, 3, 3, 7)}, Diff: []int{0}})
	}
	for _, op := range []string{"Neg", "Abs", "Sign"} {
		list = append(list, Case{Op: op, Name: "integers", In: []input{indices(-9, 9, 2, 3)}})
	}
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
		list = append(list,
			Case{Op: op, In: []input{coins(2, 3), coins(3)}},
			Case{Op: op, Name: "integers", In: []input{indices(0, 3, 2, 3), indices(0, 3, 2, 1)}})
	}
	for _, op := range []string{"And", "Or", "Xor"} {
		list = append(list, Case{Op: op, In: []input{flags(2, 3), flags(3)}})
	}
	for _, op := range []string{"IsNaN", "IsInf"} {
		list = append(list, Case{Op: op, In: []input{numbersOf([]float32{1, nan, inf, -inf}, 4)}})
	}
	for detect := range int64(2) {
		list = append(list, Case{Op: "IsInf", Name: fmt.Sprint("detect ", detect), Attrs: attrs(
			onnx.AttrInt("detect_positive", detect), onnx.AttrInt("detect_negative", 1-detect)),
			In: []input{numbersOf([]float32{1, nan, inf, -inf}, 4)}})
	}
	return append(list,
		Case{Op: "Not", In: []input{flags(2, 3)}},
		Case{Op: "Equal", Name: "bools", In: []input{flags(2, 3), flags(3)}},
		Case{Op: "Round", Name: "ties to even", In: []input{numbersOf([]float32{0.5, 1.5, 2.5, -0.5, -1.5}, 5)}},
	)
}
