package sparsity

import (
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph"
)

// Skip returns the layers that no pattern names, and the names of those that
// one does. In a pattern * stands for any characters, ? for one; "first" and
// "last" are the first and the last layer. A pattern that names no layer is an
// error: it is a slip of the pen.
func Skip(layers []Layer, patterns []string) (rest []Layer, skipped []string, err error) {
	skip := map[string]bool{}
	for _, p := range patterns {
		found := false
		for i, l := range layers {
			if graph.MatchName(p, l.Name) || p == "first" && i == 0 || p == "last" && i == len(layers)-1 {
				skip[l.Name], found = true, true
			}
		}
		if !found {
			return nil, nil, fmt.Errorf("sparsity: no layer is named %q; there are: %s", p, layerNames(layers))
		}
	}
	for _, l := range layers {
		if skip[l.Name] {
			skipped = append(skipped, l.Name)
		} else {
			rest = append(rest, l)
		}
	}
	return rest, skipped, nil
}

func layerNames(layers []Layer) string {
	var list []string
	for _, l := range layers {
		list = append(list, l.Name)
	}
	return strings.Join(list, ", ")
}
