//go:build cgo

package ort_test

import (
	"context"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exectest"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestConformance runs the suite in ONNX Runtime: inference graphs as they
// are, training graphs with the bodies of our own operators as functions.
func TestConformance(t *testing.T) {
	library(t)
	exectest.Run(t, runORT)
}

// TestNodeCases runs the official node cases: what one executor leaves out, the
// other must not be blamed for.
func TestNodeCases(t *testing.T) {
	library(t)
	exectest.RunNodeTests(t, "ort", func(model []byte, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
		s, err := ort.NewSession(model, ort.Options{})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return s.Run(t.Context(), feeds)
	})
}

// runORT runs a graph in ONNX Runtime, the bodies of our own operators as
// functions.
func runORT(g *graph.Graph, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
	m, err := pass.Portable(g)
	if err != nil {
		return nil, err
	}
	b, err := m.Encode()
	if err != nil {
		return nil, err
	}
	s, err := ort.NewSession(b, ort.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(context.Background(), feeds)
}
