package unprune_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// TestGroupsOfTorchPruning compares the groups of whole networks with those
// that Torch-Pruning finds in the PyTorch module.
func TestGroupsOfTorchPruning(t *testing.T) {
	files, err := filepath.Glob("../models/testdata/groups/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures (%v)", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want [][]string
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			got := groupsOf(t, strings.TrimSuffix(file, ".json")+".onnx")
			for _, g := range want {
				if !slices.ContainsFunc(got, func(h []string) bool { return slices.Equal(g, h) }) {
					t.Errorf("not found: %v", g)
				}
			}
			for _, g := range got {
				if !slices.ContainsFunc(want, func(h []string) bool { return slices.Equal(g, h) }) && !onlyOurs(g) {
					t.Errorf("found, not by Torch-Pruning: %v", g)
				}
			}
		})
	}
}

// onlyOurs are groups that the module hides from Torch-Pruning: the heads
// inside of nn.MultiheadAttention.
func onlyOurs(g []string) bool {
	return slices.ContainsFunc(g, func(m string) bool { return strings.Contains(m, "in_proj_weight out") })
}

// groupsOf lists the groups of a file as the fixtures do.
func groupsOf(t *testing.T, file string) [][]string {
	t.Helper()
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := sparsity.Groups(specialised(t, im), weightLayers(im))
	if err != nil {
		t.Fatal(err)
	}
	var list [][]string
	for _, g := range groups {
		var members []string
		for _, member := range g.Members {
			p := im.Param(member.Param)
			if p == nil || p.Role != pass.Weight {
				continue
			}
			switch member.Axis {
			case p.OutAxis:
				members = append(members, member.Param+" out")
			case p.InAxis:
				members = append(members, member.Param+" in")
			}
		}
		slices.Sort(members)
		if slices.ContainsFunc(members, func(m string) bool { return strings.HasSuffix(m, " out") }) {
			list = append(list, members)
		}
	}
	return list
}

// weightLayers are the weights of a model.
func weightLayers(im *pass.Model) []sparsity.Layer {
	var layers []sparsity.Layer
	for _, p := range im.Params {
		if p.Role == pass.Weight {
			layers = append(layers, sparsity.Layer{Name: p.Name(), Weight: p.Tensor(), OutAxis: p.OutAxis, InAxis: p.InAxis})
		}
	}
	return layers
}

// specialised is the graph for one sample, with nothing folded that depends on
// parameters.
func specialised(t *testing.T, im *pass.Model) *graph.Graph {
	t.Helper()
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: 1, Keep: im.Floats()})
	if err != nil {
		t.Fatal(err)
	}
	return g
}
