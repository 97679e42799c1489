package pass_test

import (
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestCompactAligned empties filters of a network and counts what stays of
// them, with every rule for multiples; outputs stay the same.
func TestCompactAligned(t *testing.T) {
	const file = "../../models/testdata/gradients/vgg-16.onnx"
	for _, c := range []struct {
		roundTo, emptied, want int // of 32 filters of one layer
	}{{1, 15, 17}, {8, 15, 24}, {16, 15, 32}, {0, 15, 24}, {0, 10, 32}, {0, 24, 8}, {0, 29, 3}, {8, 29, 8}} {
		im := load(t, file)
		w, b := widest(t, im)
		const n = 32
		x, each := onnx.Of[float32](w.Tensor()), w.Tensor().Len()/n
		clear(x[:c.emptied*each])
		clear(onnx.Of[float32](b.Tensor())[:c.emptied])
		want := run(t, im, 2)
		if _, err := pass.CompactAligned(im, c.roundTo); err != nil {
			t.Fatal(err)
		}
		same(t, "compacted", run(t, im, 2), want)
		if got := im.Graph.Value(w.Name()).Shape[0]; got != c.want {
			t.Errorf("multiples of %d: %d of %d filters stay, want %d", c.roundTo, got, n, c.want)
		}
	}
}

// widest is the first convolution of 32 filters, and its bias.
func widest(t *testing.T, im *pass.Model) (w, b *pass.Param) {
	t.Helper()
	for i, p := range im.Params {
		if p.Role == pass.Weight && p.Node.Op == "Conv" && p.Value.Shape[0] == 32 {
			return p, im.Params[i+1]
		}
	}
	t.Fatal("no convolution of 32 filters")
	return nil, nil
}
