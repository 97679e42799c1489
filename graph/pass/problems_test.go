package pass_test

import (
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
