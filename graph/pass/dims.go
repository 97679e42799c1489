package pass

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
)

// bindDims gives extents to axes of inputs by the names that the file has for
// them. The file that is written later declares the names again.
func bindDims(g *graph.Graph, dims map[string]int) error {
	names := map[string]bool{}
	for _, in := range g.Inputs {
		for i := range in.Shape {
			name := dimParam(in, i)
			if name == "" {
				continue
			}
			names[name] = true
			if n, ok := dims[name]; ok {
				in.Shape[i] = n
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		if n := dims[name]; n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("pass: dimension %q: extent %d; want a positive number", name, n)
		}
		if !names[name] {
			return fmt.Errorf("pass: no input has a dimension called %q; there is %s", name, list(names))
		}
	}
	return nil
}

func list(names map[string]bool) string {
	if len(names) == 0 {
		return "none that is named"
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// dimParam is the file's name for axis i of an input, empty if it has none.
func dimParam(in *graph.Value, i int) string {
	if in.Info == nil || in.Info.Type == nil || in.Info.Type.Tensor == nil || i >= len(in.Info.Type.Tensor.Shape) {
		return ""
	}
	return in.Info.Type.Tensor.Shape[i].Param
}

// paramText is that name for a message.
func paramText(in *graph.Value, i int) string {
	if name := dimParam(in, i); name != "" {
		return fmt.Sprintf(" (%s)", name)
	}
	return ""
}
