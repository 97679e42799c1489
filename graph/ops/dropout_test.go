package ops_test

import "github.com/unprune/unprune/onnx"

var _ = addCases(
	Case{Op: "Dropout", In: []input{normal(3, 4)}, NOut: 2, Diff: []int{0}},
	Case{Op: "Dropout", Name: "opset 7", Opset: 7, In: []input{normal(3, 4)}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloat("ratio", 0.3))},
	Case{Op: "Dropout", Name: "opset 10", Opset: 10, In: []input{normal(3, 4)}, NOut: 2, NoORT: "its mask is zeros there in inference", Diff: []int{0}},
	Case{Op: "Dropout", Name: "exported in training mode", Opset: 13, Diff: []int{0}, NoORT: "draws noise there",
		In: []input{normal(3, 4), fixed(tensorOf(onnx.FromSlice([]float32{0.4}))), fixed(tensorOf(onnx.FromSlice([]bool{true})))}},
)
