package pass

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// StoreHalf makes the float32 parameters of a file half-precision ones, dt, each
// followed by a Cast to float32 in which the nodes compute as before. Scalars,
// running statistics and constants that are no parameters stay as they are, and
// what does not fit: kept names those with an element beyond dt's range.
func StoreHalf(m *onnx.Model, dt onnx.DType) (half *onnx.Model, stored int, kept []string, err error) {
	g, err := graph.FromONNX(m)
	if err != nil {
		return nil, 0, nil, err
	}
	names := map[string]bool{}
	for _, v := range slices.Clone(g.Inits) {
		if v.DType != onnx.Float32 || !splittable(v) || !parameter(g, v) {
			continue
		}
		rounded, err := onnx.Convert(v.Const, dt)
		if err != nil {
			return nil, 0, nil, err
		}
		if !finite(rounded) {
			kept = append(kept, v.Name)
			continue
		}
		rounded.Name = v.Name
		if err := storeRounded(g, v, rounded); err != nil {
			return nil, 0, nil, err
		}
		names[v.Name] = true
	}
	half, err = written(g, names)
	return half, len(names), kept, err
}

// parameter reports whether v is read as a parameter everywhere, and only that:
// it is no output, nor an input of the graph as well (which has an Info).
func parameter(g *graph.Graph, v *graph.Value) bool {
	if len(v.Uses()) == 0 || slices.Contains(g.Outputs, v) || v.Info != nil {
		return false
	}
	return !slices.ContainsFunc(v.Uses(), func(u graph.Use) bool {
		if shapeOnly(u) {
			return false
		}
		n, slot, _, _ := consumer(v, u)
		role := slotRole(n, slot)
		return role == Constant || role == Mean || role == Variance
	})
}

// written is the file of a graph in which the named values changed their type.
func written(g *graph.Graph, names map[string]bool) (*onnx.Model, error) {
	g.Prune()
	if err := g.Sort(); err != nil {
		return nil, err
	}
	m := g.ToONNX()
	m.Graph.ValueInfo = slices.DeleteFunc(slices.Clone(m.Graph.ValueInfo), func(vi *onnx.ValueInfo) bool { return names[vi.Name] })
	return m, nil
}

// storeRounded makes v the half-precision tensor t and its readers read a Cast
// of it.
func storeRounded(g *graph.Graph, v *graph.Value, t *onnx.Tensor) error {
	cast := g.AddNode("", "Cast", nil, 1, onnx.AttrInt("to", int64(onnx.Float32)))
	out := cast.Outputs[0]
	if err := g.Rename(out, g.Unique(v.Name+"_fp32")); err != nil {
		return err
	}
	cast.Name = out.Name
	out.DType, out.Shape = onnx.Float32, v.Shape.Clone()
	g.ReplaceUses(v, out)
	g.SetInput(cast, 0, v)
	v.Const, v.DType, v.Info = t, t.DType, nil
	return nil
}

func finite(t *onnx.Tensor) bool {
	full, err := onnx.ToFloat32(t)
	return err == nil && !slices.ContainsFunc(onnx.Of[float32](full), func(x float32) bool { return math.IsInf(float64(x), 0) || x != x })
}

// StoreSingle is the inverse of StoreHalf: half-precision initializers become
// float32 and the Casts behind them disappear. It fails where nodes compute in
// half precision themselves.
func StoreSingle(m *onnx.Model) (single *onnx.Model, stored int, err error) {
	g, err := graph.FromONNX(m)
	if err != nil {
		return nil, 0, err
	}
	names := map[string]bool{}
	for _, v := range slices.Clone(g.Inits) {
		if !half(v.DType) {
			continue
		}
		for _, u := range v.Uses() {
			if u.Node.Op != "Cast" || u.Node.Domain != "" || onnx.DType(u.Node.Int("to", 0)) != onnx.Float32 || slices.Contains(g.Outputs, u.Node.Output(0)) {
				return nil, 0, fmt.Errorf("pass: initializer %q: node %q (%s) computes in %v; such a model cannot be stored in float32 without changing what it computes", v.Name, u.Node.Name, u.Node.Op, v.DType)
			}
		}
		full, err := onnx.Convert(v.Const, onnx.Float32)
		if err != nil {
			return nil, 0, err
		}
		full.Name = v.Name
		v.Const, v.DType, v.Info = full, onnx.Float32, nil
		for _, u := range slices.Clone(v.Uses()) {
			g.ReplaceUses(u.Node.Output(0), v) // Prune removes the Cast
		}
		names[v.Name] = true
	}
	single, err = written(g, names)
	return single, len(names), err
}
