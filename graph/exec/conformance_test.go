package exec_test

import (
	"fmt"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/exectest"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// TestConformance runs the suite with two threads.
func TestConformance(t *testing.T) {
	team := kernel.NewTeam(2)
	t.Cleanup(team.Close)
	exectest.Run(t, func(g *graph.Graph, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
		p, err := exec.Compile(g, exec.Options{Team: team, State: feeds})
		if err != nil {
			return nil, err
		}
		if err := p.Run(t.Context()); err != nil {
			return nil, err
		}
		out := map[string]*onnx.Tensor{}
		for _, v := range g.Outputs {
			if out[v.Name] = p.Output(v.Name); out[v.Name] == nil {
				return nil, fmt.Errorf("no output %q", v.Name)
			}
		}
		return out, nil
	})
}
