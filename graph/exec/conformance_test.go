package exec_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/exectest"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestConformance runs the suite with two threads.
func TestConformance(t *testing.T) {
	team := kernel.NewTeam(2)
	t.Cleanup(team.Close)
	exectest.Run(t, func(g *graph.Graph, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
		return execute(t.Context(), g, feeds, team)
	})
}

// TestNodeCases runs the official node cases the way a user's file runs:
// imported, bound to the inputs, compiled.
func TestNodeCases(t *testing.T) {
	team := kernel.NewTeam(2)
	t.Cleanup(team.Close)
	exectest.RunNodeTests(t, "native", func(model []byte, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
		m, err := onnx.Decode(model, nil)
		if err != nil {
			return nil, err
		}
		im, err := pass.Import(m)
		if err != nil {
			return nil, err
		}
		g, err := pass.Bind(im.Graph, feeds)
		if err != nil {
			return nil, err
		}
		return execute(t.Context(), g, feeds, team)
	})
}

func execute(ctx context.Context, g *graph.Graph, feeds map[string]*onnx.Tensor, team *kernel.Team) (map[string]*onnx.Tensor, error) {
	p, err := exec.Compile(g, exec.Options{Team: team, State: feeds})
	if err != nil {
		return nil, err
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	out := map[string]*onnx.Tensor{}
	for _, v := range g.Outputs {
		if out[v.Name] = p.Output(v.Name); out[v.Name] == nil {
			return nil, fmt.Errorf("no output %q", v.Name)
		}
	}
	return out, nil
}
