package ops

import (
	"fmt"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// TestCoupling builds one operator behind a layer that could lose channels and
// says which of the layer's outputs then go together, and which cannot go.
func TestCoupling(t *testing.T) {
	ints := func(b *Builder, list ...int) *graph.Value { return b.Ints(list...) }
	for _, c := range []struct {
		name  string
		build func(b *Builder, x *graph.Value) *graph.Value // x is [1 8 2 2], its channels are free
		want  string                                        // one letter per channel: equal ones go together, . cannot go
	}{
		{"an activation", func(b *Builder, x *graph.Value) *graph.Value { return b.Op("Relu", x) }, "abcdefgh"},
		{"a second convolution, depthwise", func(b *Builder, x *graph.Value) *graph.Value {
			return b.OpA("Conv", []*onnx.Attr{onnx.AttrInt("group", 8)}, x, weights(b, 8, 1, 1, 1))
		}, "abcdefgh"},
		{"depthwise with two outputs a channel", func(b *Builder, x *graph.Value) *graph.Value {
			return b.OpA("Conv", []*onnx.Attr{onnx.AttrInt("group", 8)}, x, weights(b, 16, 1, 1, 1))
		}, "abcdefgh"},
		{"a transposed convolution", func(b *Builder, x *graph.Value) *graph.Value {
			return b.Op("ConvTranspose", x, weights(b, 8, 3, 2, 2))
		}, "abcdefgh"},
		{"in groups of four", func(b *Builder, x *graph.Value) *graph.Value {
			return b.OpA("Conv", []*onnx.Attr{onnx.AttrInt("group", 2)}, x, weights(b, 6, 4, 1, 1))
		}, "abcdabcd"},
		{"added to itself the other way round", func(b *Builder, x *graph.Value) *graph.Value {
			a := b.Op("Slice", x, ints(b, 0), ints(b, 4), ints(b, 1))
			z := b.Op("Slice", x, ints(b, 4), ints(b, 8), ints(b, 1))
			return b.Op("Add", a, z)
		}, "abcdabcd"},
		{"split in three", func(b *Builder, x *graph.Value) *graph.Value {
			parts := b.Node("Split", 3, []*graph.Value{x, ints(b, 2, 2, 4)}, onnx.AttrInt("axis", 1))
			return b.OpA("Concat", []*onnx.Attr{onnx.AttrInt("axis", 1)}, parts[2], b.Op("Mul", parts[0], parts[1]))
		}, "ababcdef"},
		{"flattened", func(b *Builder, x *graph.Value) *graph.Value { return b.Op("Flatten", x) }, "abcdefgh"},
		{"two heads of four", func(b *Builder, x *graph.Value) *graph.Value { return b.Reshape(x, 1, 2, 4, 4) }, "aaaabbbb"},
		{"one channel picked out", func(b *Builder, x *graph.Value) *graph.Value {
			return b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", 1)}, x, b.Int(3))
		}, "abc.defg"},
		{"every second channel", func(b *Builder, x *graph.Value) *graph.Value {
			return b.Op("Slice", x, ints(b, 0), ints(b, 8), ints(b, 1), ints(b, 2))
		}, "........"},
		{"padded with channels", func(b *Builder, x *graph.Value) *graph.Value {
			return b.Pad(x, []int{0, 2, 0, 0}, []int{0, 1, 0, 0})
		}, "abcdefgh"},
		{"averaged over channels", func(b *Builder, x *graph.Value) *graph.Value { return b.ReduceSum(x, true, 1) }, "........"},
		{"read for its type alone", func(b *Builder, x *graph.Value) *graph.Value {
			return b.Op("Mul", x, b.Op("CastLike", b.Int(2), x))
		}, "abcdefgh"},
		{"an operator without a rule", func(b *Builder, x *graph.Value) *graph.Value {
			return b.OpA("CumSum", nil, x, b.Int(2))
		}, "........"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graph.New("axes", 17)
			b := NewBuilder(g)
			x := b.Op("Conv", g.AddInput("x", onnx.Float32, 1, 3, 2, 2), weights(b, 8, 3, 1, 1))
			y := c.build(b, x)
			// Something reads the result, so that it is no output itself.
			flat := b.Reshape(y, 1, y.Shape.Size())
			g.AddOutput(b.Op("MatMul", flat, weights(b, y.Shape.Size(), 1)))
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			classes, err := Couple(g)
			if err != nil {
				t.Fatal(err)
			}
			var seen []int
			got := ""
			for k := range 8 {
				id := classes.Class(Axis{x, 1}, k)
				if classes.Fixed(id) {
					got += "."
					continue
				}
				i := slices.Index(seen, id)
				if i < 0 {
					i = len(seen)
					seen = append(seen, id)
				}
				got += fmt.Sprintf("%c", 'a'+i)
			}
			if got != c.want {
				t.Errorf("channels are %s, want %s", got, c.want)
			}
		})
	}
}

// weights adds an initializer.
func weights(b *Builder, shape ...int) *graph.Value {
	return b.G.AddInit("w", onnx.NewTensor(onnx.Float32, shape...))
}
