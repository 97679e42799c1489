package graph

import (
	"slices"
	"strconv"

	"github.com/unprune/unprune/onnx"
)

// Attr returns the attribute of that name, nil if the node does not have it.
func (n *Node) Attr(name string) *onnx.Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// SetAttr adds a or replaces the attribute of its name.
func (n *Node) SetAttr(a *onnx.Attr) {
	attrs := append([]*onnx.Attr{}, n.Attrs...) // clones share the old slice
	for i, b := range attrs {
		if b.Name == a.Name {
			attrs[i] = a
			n.Attrs = attrs
			return
		}
	}
	n.Attrs = append(attrs, a)
}

// DropAttrs removes the attributes of these names.
func (n *Node) DropAttrs(names ...string) {
	n.Attrs = slices.DeleteFunc(slices.Clone(n.Attrs), func(a *onnx.Attr) bool { return slices.Contains(names, a.Name) })
}

// Int returns an integer attribute, or def when it is absent.
func (n *Node) Int(name string, def int) int {
	if a := n.Attr(name); a != nil {
		return int(a.I)
	}
	return def
}

// Ints returns a list attribute as ints; nil when it is absent.
func (n *Node) Ints(name string) []int {
	a := n.Attr(name)
	if a == nil {
		return nil
	}
	out := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		out[i] = int(v)
	}
	return out
}

// Float returns a float attribute, or def when it is absent. Attributes are
// stored in single precision; the result is the shortest decimal that rounds
// to the stored number (0.9, not 0.899999976), which is what the author of the
// file wrote and what a run in double precision must use.
func (n *Node) Float(name string, def float64) float64 {
	a := n.Attr(name)
	if a == nil {
		return def
	}
	x, err := strconv.ParseFloat(strconv.FormatFloat(float64(a.F), 'g', -1, 32), 64)
	if err != nil { // cannot happen: the text is a number we formatted
		return float64(a.F)
	}
	return x
}

// Str returns a string attribute, or def when it is absent.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil {
		return string(a.S)
	}
	return def
}
