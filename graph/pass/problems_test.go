package pass_test

import (
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestUntrainable: a quantised model runs, and what keeps it from training is
// named with its nodes, once per operator.
func TestUntrainable(t *testing.T) {
	m := model(op("QuantizeLinear", "q", "x", "scale"), op("DequantizeLinear", "d", "q", "scale"), op("QuantizeLinear", "q2", "d", "scale"), op("DequantizeLinear", "y", "q2", "scale"))
	scale := onnx.FromSlice([]float32{0.5})
	scale.Name = "scale"
	m.Graph.Initializers = append(m.Graph.Initializers, scale)
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	problems := im.Untrainable()
	if len(problems) != 2 {
		t.Fatalf("problems %v, want one per operator", problems)
	}
	if got, want := problems[0].Operator+" at "+problems[0].Where(), `QuantizeLinear at "q", "q2"`; got != want {
		t.Errorf("the first is %s, want %s", got, want)
	}
	m = model(op("Relu", "y", "x"))
	m.Opsets[0].Version = 99
	if _, err := pass.Import(m); err == nil {
		t.Error("operator set 99 is not refused")
	}
}

// TestRefusedValues: inputs and outputs that are no tensors of numbers, and
// nodes that work on such, are refused by name, all at once.
func TestRefusedValues(t *testing.T) {
	const huge = 1<<31 - 1
	tensor := onnx.NewTensorType(onnx.Float32)
	m := model(
		op("SequenceConstruct", "pair", "x", "x"), op("ConcatFromSequence", "y", "pair"),
		op("StringNormalizer", "clean", "text"), op("OptionalGetElement", "given", "maybe"),
	)
	m.Graph.Inputs = append(m.Graph.Inputs,
		onnx.NewValueInfo("text", onnx.String, onnx.FixedDim(1)),
		&onnx.ValueInfo{Name: "list", Type: &onnx.Type{Sequence: &onnx.SequenceType{Elem: tensor}}},
		&onnx.ValueInfo{Name: "maybe", Type: &onnx.Type{Optional: &onnx.OptionalType{Elem: tensor}}},
		onnx.NewValueInfo("small", onnx.Int4, onnx.FixedDim(1)),
		onnx.NewValueInfo("big", onnx.Float32, onnx.ParamDim("n"), onnx.FixedDim(huge), onnx.FixedDim(2)),
	)
	m.Graph.Outputs = append(m.Graph.Outputs, &onnx.ValueInfo{Name: "pair", Type: &onnx.Type{Sequence: &onnx.SequenceType{Elem: tensor}}})
	_, err := pass.Import(m)
	if err == nil {
		t.Fatal("not refused")
	}
	for _, want := range []string{
		`sequences are not implemented: a network takes and gives tensors ("list", "pair")`,
		`strings are not implemented: turn text into numbers in front of the network ("text")`,
		`a network takes and gives dense tensors ("maybe")`,
		`inputs of type int4 are not implemented: feed a wider type ("small")`,
		`has more than 2147483648 elements ("big")`,
		`operator SequenceConstruct: `, `operator ConcatFromSequence: `, `operator StringNormalizer: `, `operator OptionalGetElement: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no reason says %q:\n%v", want, err)
		}
	}
}
