package onnx_test

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
)

// A model is made of plain values; Check says what is missing.
func Example() {
	w := onnx.FromSlice([]float32{1, 0, 0, -1}, 2, 2)
	w.Name = "w"
	m := &onnx.Model{
		IRVersion: 8,
		Opsets:    []onnx.OpsetID{{Version: 17}},
		Graph: &onnx.Graph{
			Name:         "linear",
			Inputs:       []*onnx.ValueInfo{onnx.NewValueInfo("x", onnx.Float32, onnx.ParamDim("batch"), onnx.FixedDim(2))},
			Outputs:      []*onnx.ValueInfo{onnx.NewValueInfo("y", onnx.Float32, onnx.ParamDim("batch"), onnx.FixedDim(2))},
			Initializers: []*onnx.Tensor{w},
			Nodes: []*onnx.Node{{
				Name: "fc", OpType: "Gemm", Inputs: []string{"x", "w"}, Outputs: []string{"y"},
				Attrs: []*onnx.Attr{onnx.AttrInt("transB", 1)},
			}},
		},
	}
	fmt.Print(onnx.Text(m))
	fmt.Println(onnx.Check(m))

	m.Graph.Nodes[0].Inputs[1] = "weight"
	fmt.Println(onnx.Check(m))
	// Output:
	// model ir_version=8
	// opset "" 17
	// graph "linear"
	//   input "x" float32[batch 2]
	//   output "y" float32[batch 2]
	//   initializer "w" float32[2 2] = [1 0 0 -1]
	//   "y" = Gemm("x", "w") name="fc"
	//     attr "transB" int = 1
	// <nil>
	// onnx: graph.node[0] "fc": input 1, "weight", is not defined before the node
}

func ExampleSparsify() {
	t := onnx.FromSlice([]float32{0, 5, 0, 0, -7, 0}, 2, 3)
	s := onnx.Sparsify(t)
	fmt.Println(s.Dims, s.Indices.Data, s.Values.Data)
	dense, err := s.Dense()
	fmt.Println(dense.Data, err)
	// Output:
	// [2 3] [1 4] [5 -7]
	// [0 5 0 0 -7 0] <nil>
}
