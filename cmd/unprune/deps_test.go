package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the policy of who may import whom, on the module's own packages:
// "a < b" says that b may import a and whatever a may import, and nothing
// else. A package that is not named here fails the test: decide where it
// belongs. Tests may import more.
const layers = `
onnx/internal/pb < onnx;   onnx < onnx/npz, graph, graph/ort

graph, graph/kernel < graph/ops
graph/ops < graph/pass < graph/autodiff
graph/ops < models
graph/autodiff, onnx/npz < graph/exectest
graph/pass, graph/kernel < graph/exec < graph/onnxgo

graph/ops, onnx/npz < sparsity < evalmetrics < evalmetrics/report
onnx/npz < unprune/data
unprune/data, sparsity, evalmetrics < unprune < unprune/unlearn
unprune, graph/ops, graph/autodiff, graph/pass < unprune/train
unprune, evalmetrics < unprune/bound
unprune, evalmetrics, unprune/unlearn, unprune/bound < unprune/study

unprune/study, unprune/train, evalmetrics/report, graph/exec, graph/ort, models < cmd/unprune/cli < cmd/unprune
`

const module = "github.com/unprune/unprune"

// parseLayers returns, per package, what it may import.
func parseLayers(t *testing.T, text string) map[string]map[string]bool {
	direct := map[string][]string{}
	for chain := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		var below []string
		for i, part := range strings.Split(chain, "<") {
			var names []string
			for name := range strings.SplitSeq(part, ",") {
				if name = strings.TrimSpace(name); name != "" {
					names = append(names, name)
				}
			}
			for _, name := range names {
				direct[name] = append(direct[name], below...)
			}
			if i > 0 && len(names) == 0 {
				t.Fatalf("layers: nothing above %v", below)
			}
			below = names
		}
	}
	all := map[string]map[string]bool{}
	var visit func(name string, path []string) map[string]bool
	visit = func(name string, path []string) map[string]bool {
		if slices.Contains(path, name) {
			t.Fatalf("layers: cycle through %q", name)
		}
		if all[name] == nil {
			set := map[string]bool{}
			for _, below := range direct[name] {
				set[below] = true
				for deeper := range visit(below, append(path, name)) {
					set[deeper] = true
				}
			}
			all[name] = set
		}
		return all[name]
	}
	for name := range direct {
		visit(name, nil)
	}
	return all
}

func TestImports(t *testing.T) {
	allowed := parseLayers(t, layers)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string]bool{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		found[name] = true
		if allowed[name] == nil {
			t.Errorf("package %s has no place in the map of imports", name)
			continue
		}
		for _, imp := range p.Imports {
			if other, ours := strings.CutPrefix(imp, module+"/"); ours && !allowed[name][other] {
				t.Errorf("package %s must not import %s", name, other)
			}
		}
	}
	if !found["cmd/unprune"] {
		t.Error("go list does not show this package")
	}
}
