package evalmetrics

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// net runs the two networks of the reference cases in plain float64 loops: the
// metrics are tested here, not an executor.
type net struct {
	t *testing.T
	g *onnx.Graph
}

func openNet(t *testing.T, path ...string) net {
	t.Helper()
	m, err := onnx.Read(filepath.Join(append([]string{goldenDir()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return net{t, m.Graph}
}

func (n net) weights(name string) (values []float32, shape []int) {
	w := n.g.Initializer(name)
	if w == nil {
		n.t.Fatalf("no weight %q", name)
	}
	return onnx.Of[float32](w), w.Shape
}

// logits runs one sample: 12 features, or 1x8x8 pixels.
func (n net) logits(x []float64) []float64 {
	if len(x) == 12 {
		return n.linear("fc", relu(n.linear("fc1", x)))
	}
	x = pool(relu(n.norm("bn1", n.conv("conv1", x, 8))), 8)
	return n.linear("fc", means(relu(n.conv("conv2", x, 4)), 16))
}

func (n net) linear(name string, x []float64) []float64 {
	w, shape := n.weights(name + ".weight")
	b, _ := n.weights(name + ".bias")
	y := make([]float64, shape[0])
	for o := range y {
		y[o] = float64(b[o])
		for i, v := range x {
			y[o] += v * float64(w[o*shape[1]+i])
		}
	}
	return y
}

// conv is a 3x3 convolution with padding 1 over planes of size x size.
func (n net) conv(name string, x []float64, size int) []float64 {
	w, shape := n.weights(name + ".weight")
	b, _ := n.weights(name + ".bias")
	y := make([]float64, shape[0]*size*size)
	for i := range y {
		o, row, col := i/(size*size), i/size%size, i%size
		y[i] = float64(b[o])
		for k := range 9 * shape[1] {
			c, r, s := k/9, row+k%9/3-1, col+k%3-1
			if r >= 0 && r < size && s >= 0 && s < size {
				y[i] += x[(c*size+r)*size+s] * float64(w[o*9*shape[1]+k])
			}
		}
	}
	return y
}

func (n net) norm(name string, x []float64) []float64 {
	scale, shape := n.weights(name + ".weight")
	shift, _ := n.weights(name + ".bias")
	mean, _ := n.weights(name + ".running_mean")
	variance, _ := n.weights(name + ".running_var")
	y := make([]float64, len(x))
	for i, v := range x {
		c := i / (len(x) / shape[0])
		y[i] = (v-float64(mean[c]))/math.Sqrt(float64(variance[c])+1e-5)*float64(scale[c]) + float64(shift[c])
	}
	return y
}

func relu(x []float64) []float64 {
	for i, v := range x {
		x[i] = max(v, 0)
	}
	return x
}

// pool takes the maximum of 2x2 blocks of planes of size x size.
func pool(x []float64, size int) []float64 {
	half := size / 2
	y := make([]float64, len(x)/4)
	for i := range y {
		at := i/(half*half)*size*size + i/half%half*2*size + i%half*2
		y[i] = max(x[at], x[at+1], x[at+size], x[at+size+1])
	}
	return y
}

// means averages consecutive blocks.
func means(x []float64, block int) []float64 {
	y := make([]float64, len(x)/block)
	for i, v := range x {
		y[i/block] += v / float64(block)
	}
	return y
}

// goldenDivergence compares KL and JS between two networks on three sets.
func goldenDivergence(t *testing.T, name string) {
	var want struct {
		Model  string
		Result map[string]struct {
			JS float64
			KL float64 `json:"kl_gold_to_unlearned"`
		}
		Tolerance float64
	}
	goldenCase(t, name, &want)
	sets, err := npz.ReadFile(filepath.Join(goldenDir(), "data.npz"))
	if err != nil {
		t.Fatal(err)
	}
	gold, model := openNet(t, name, "gold.onnx"), openNet(t, name, "unlearned.onnx")
	if len(want.Result) != 3 {
		t.Fatalf("%d sets", len(want.Result))
	}
	for set, w := range want.Result {
		x := sets[strings.ToLower(want.Model)+"_x_"+set]
		p, q := probabilities(gold, x), probabilities(model, x)
		kl, err := KL(p, q, 5)
		if err != nil || math.Abs(kl-w.KL) > want.Tolerance {
			t.Errorf("%s: KL %v (%v), want %v", set, kl, err, w.KL)
		}
		js, err := JS(p, q, 5)
		if err != nil || math.Abs(js-w.JS) > want.Tolerance {
			t.Errorf("%s: JS %v (%v), want %v", set, js, err, w.JS)
		}
	}
}

func probabilities(n net, x *onnx.Tensor) []float64 {
	size := x.Len() / x.Shape[0]
	var p []float64
	for i := range x.Shape[0] {
		sample := make([]float64, size)
		for j, v := range onnx.Of[float32](x)[i*size : (i+1)*size] {
			sample[j] = float64(v)
		}
		p = append(p, Softmax(n.logits(sample), 5)...)
	}
	return p
}
