package ops_test

import (
	"context"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/onnx"
)

// needORT opens ONNX Runtime or skips the test, saying why.
func needORT(t *testing.T) {
	t.Helper()
	lib, err := ort.Find("")
	if err == nil {
		err = ort.Open(lib)
	}
	if err != nil {
		t.Skip("NOT COMPARED WITH ONNX RUNTIME: ", err)
	}
}

// evalORT runs the sample in ONNX Runtime, operators of our own as bodies.
func (s *sample) evalORT(t *testing.T) []*onnx.Tensor {
	t.Helper()
	for i := 0; i < len(s.g.Nodes); {
		if n := s.g.Nodes[i]; n.Domain == ops.Domain {
			inline(t, s.g, n)
			i = 0
			continue
		}
		i++
	}
	s.g.Prune()
	delete(s.g.Opsets, ops.Domain)
	data, err := s.g.ToONNX().Encode()
	if err != nil {
		t.Fatal(err)
	}
	session, err := ort.NewSession(data, ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	outs, err := session.Run(context.Background(), s.feeds)
	if err != nil {
		t.Fatal(err)
	}
	var list []*onnx.Tensor
	for _, v := range s.g.Outputs {
		list = append(list, outs[v.Name])
	}
	if slices.Contains(list, nil) {
		t.Fatal("ONNX Runtime did not return every output")
	}
	return list
}
