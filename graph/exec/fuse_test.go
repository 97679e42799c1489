package exec_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

const (
	fuseBatch, fuseTokens, fuseHeads, fuseDim = 2, 5, 3, 4
	fuseWidth                                 = fuseHeads * fuseDim
)

// heads splits the joint projection [batch tokens 3*width] (or, with positions
// first, [tokens batch 3*width]) into q, k' and v and returns the result's way
// back to rows, as exporters write it.
type splitting func(b *ops.Builder, x *graph.Value) (q, k, v *graph.Value, back func(y *graph.Value) *graph.Value)

func scalarTimes(b *ops.Builder, x *graph.Value, f float64) *graph.Value {
	return b.Mul(x, b.Scalar(f, x))
}

func at(b *ops.Builder, x *graph.Value, i int) *graph.Value {
	return b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", 0)}, x, b.Int(i))
}

var splittings = map[string]splitting{
	// torchvision: positions first, one projection, heads among the batch.
	"torchvision": func(b *ops.Builder, x *graph.Value) (q, k, v *graph.Value, back func(*graph.Value) *graph.Value) {
		x = b.Reshape(x, fuseTokens, fuseBatch, 3, fuseWidth)
		x = b.Transpose(b.Reshape(x, 1, fuseTokens, fuseBatch, 3, fuseWidth), 3, 1, 2, 0, 4)
		x = b.Reshape(x, 3, fuseTokens, fuseBatch, fuseWidth)
		head := func(i int) *graph.Value {
			h := b.Transpose(b.Reshape(at(b, x, i), fuseTokens, fuseBatch*fuseHeads, fuseDim), 1, 0, 2)
			return b.Reshape(h, fuseBatch, fuseHeads, fuseTokens, fuseDim)
		}
		k = b.Transpose(b.Reshape(head(1), fuseBatch*fuseHeads, fuseTokens, fuseDim), 0, 2, 1)
		k = scalarTimes(b, b.Reshape(k, fuseBatch, fuseHeads, fuseDim, fuseTokens), 0.7)
		return scalarTimes(b, head(0), 0.7), k, head(2), func(y *graph.Value) *graph.Value {
			return b.Reshape(b.Transpose(y, 2, 0, 1, 3), fuseTokens*fuseBatch, fuseWidth)
		}
	},
	// timm: batch first, one permutation of all heads.
	"timm": func(b *ops.Builder, x *graph.Value) (q, k, v *graph.Value, back func(*graph.Value) *graph.Value) {
		x = b.Transpose(b.Reshape(x, fuseBatch, fuseTokens, 3, fuseHeads, fuseDim), 2, 0, 3, 1, 4)
		return scalarTimes(b, at(b, x, 0), 0.5), b.Transpose(at(b, x, 1), 0, 1, 3, 2), at(b, x, 2), func(y *graph.Value) *graph.Value {
			return b.Reshape(b.Transpose(y, 0, 2, 1, 3), fuseBatch*fuseTokens, fuseWidth)
		}
	},
	// Three parts of a projection, products of three axes.
	"split": func(b *ops.Builder, x *graph.Value) (q, k, v *graph.Value, back func(*graph.Value) *graph.Value) {
		parts := b.Split(x, 2, fuseWidth, fuseWidth, fuseWidth)
		head := func(i int, perm ...int) *graph.Value {
			h := b.Reshape(parts[i], fuseBatch, fuseTokens, fuseHeads, fuseDim)
			h = b.Transpose(h, perm...)
			return b.Reshape(h, fuseBatch*fuseHeads, h.Shape[2], h.Shape[3])
		}
		return head(0, 0, 2, 1, 3), head(1, 0, 2, 3, 1), head(2, 0, 2, 1, 3), func(y *graph.Value) *graph.Value {
			y = b.Transpose(b.Reshape(y, fuseBatch, fuseHeads, fuseTokens, fuseDim), 0, 2, 1, 3)
			return b.Reshape(y, fuseBatch*fuseTokens, fuseWidth)
		}
	},
}

// transformer is a small network with a joint projection, attention, a linear
// layer with bias and GELU, and the sum of squares of its result.
func transformer(t *testing.T, split splitting) (g *graph.Graph, loss *graph.Value, params []*graph.Value) {
	t.Helper()
	g = graph.New("transformer", 20)
	b := ops.NewBuilder(g)
	input := func(name string, shape ...int) *graph.Value {
		v := g.AddInput(name, onnx.Float64, shape...)
		params = append(params, v)
		return v
	}
	x := input("x", fuseBatch, fuseTokens, 7)
	y := b.Add(b.Op("MatMul", x, input("project", 7, 3*fuseWidth)), input("project_bias", 3*fuseWidth))
	q, k, v, back := split(b, y)
	p := b.OpA("Softmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, b.Op("MatMul", q, k))
	rows := back(b.Op("MatMul", p, v))
	z := b.Add(input("bias", 6), b.Op("MatMul", rows, input("w", fuseWidth, 6)))
	for range 2 { // GELU as one operator, and with Erf
		z = b.Op("Gelu", z)
		erf := b.Op("Erf", b.Div(z, b.Scalar(math.Sqrt2, z)))
		z = scalarTimes(b, b.Mul(z, b.Add(erf, b.Scalar(1, z))), 0.5)
	}
	loss = b.ReduceSum(b.Mul(z, z), false, 0, 1)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	return g, loss, params
}

// TestContract compares loss and gradients of graphs that were contracted
// before they were differentiated with those of graphs that were not.
func TestContract(t *testing.T) {
	for name, split := range splittings {
		t.Run(name, func(t *testing.T) {
			run := func(contract bool) map[string]*onnx.Tensor {
				g, loss, params := transformer(t, split)
				g.AddOutput(loss)
				if contract {
					if err := pass.Contract(g); err != nil {
						t.Fatal(err)
					}
					count := map[string]int{}
					for _, n := range g.Nodes {
						count[n.Op]++
					}
					if count["HeadAttention"] != 1 || count["Softmax"] != 0 || count["GeluSlope"] != 2 || count["Erf"] != 0 ||
						count["Transpose"] != 0 || count["Gather"] != 0 || count["Split"] != 0 {
						t.Errorf("contracted to %v", count)
					}
				}
				grads, err := autodiff.Gradient(g, g.Outputs[0], nil, params)
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range grads {
					if err := g.Rename(d, "grad"+fmt.Sprint(i)); err != nil {
						t.Fatal(err)
					}
					g.AddOutput(d)
				}
				feeds := map[string]*onnx.Tensor{}
				rng := rand.New(rand.NewPCG(1, 2))
				for _, p := range params {
					x := onnx.NewTensor(onnx.Float64, p.Shape...)
					for i := range onnx.Of[float64](x) {
						onnx.Of[float64](x)[i] = rng.NormFloat64()
					}
					feeds[p.Name] = x
				}
				out, err := execute(t.Context(), g, feeds, nil)
				if err != nil {
					t.Fatal(err)
				}
				out["loss"] = out[g.Outputs[0].Name]
				return out
			}
			want, got := run(false), run(true)
			for i := range 6 {
				name := fmt.Sprint("grad", i)
				if i == 5 {
					name = "loss"
				}
				if w, g := onnx.Of[float64](want[name]), onnx.Of[float64](got[name]); !nearAll(g, w, 1e-11) {
					t.Errorf("%s is %v, want %v", name, g, w)
				}
			}
		})
	}
}

// nearAll compares with a tolerance relative to the largest entry.
func nearAll(got, want []float64, tolerance float64) bool {
	if len(got) != len(want) {
		return false
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i, g := range got {
		if !(math.Abs(g-want[i]) <= tolerance*largest) {
			return false
		}
	}
	return largest > 0
}

// TestKeepsAttentionThatIsRead: probabilities that somebody reads, masks and
// scaled values stay what they are.
func TestKeepsAttentionThatIsRead(t *testing.T) {
	for _, name := range []string{"probabilities", "mask"} {
		g := graph.New("attention", 20)
		b := ops.NewBuilder(g)
		q, k, v := g.AddInput("q", onnx.Float32, 2, 3, 4), g.AddInput("k", onnx.Float32, 2, 4, 5), g.AddInput("v", onnx.Float32, 2, 5, 6)
		scores := b.Op("MatMul", q, k)
		if name == "mask" {
			scores = b.Add(scores, g.AddInput("mask", onnx.Float32, 3, 5))
		}
		p := b.OpA("Softmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, scores)
		g.AddOutput(b.Op("MatMul", p, v))
		if name == "probabilities" {
			g.AddOutput(p)
		}
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		if err := pass.Contract(g); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Op == "HeadAttention" }) {
			t.Errorf("%s: became HeadAttention", name)
		}
		if _, err := exec.Compile(g, exec.Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestTurnsProducts: a linear layer whose weights are transposed for it, as
// exporters write those of MatMul, runs without a transposition, its gradient too.
func TestTurnsProducts(t *testing.T) {
	const n, in, out = 5, 3, 4
	g := graph.New("linear", 20)
	b := ops.NewBuilder(g)
	x, w, bias := g.AddInput("x", onnx.Float64, n, in), g.AddInput("w", onnx.Float64, out, in), g.AddInput("bias", onnx.Float64, out)
	y := b.Add(b.Op("MatMul", x, b.Transpose(w, 1, 0)), bias)
	loss := b.ReduceSum(b.Mul(y, y), false, 0, 1)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	grads, err := autodiff.Gradient(g, loss, nil, []*graph.Value{x, w})
	if err != nil {
		t.Fatal(err)
	}
	g.AddOutput(grads[0])
	g.AddOutput(grads[1])
	p, err := exec.Compile(g, exec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) []float64 { return onnx.Of[float64](p.Input(name)) }
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"x", "w", "bias"} {
		for i := range at(name) {
			at(name)[i] = rng.NormFloat64()
		}
	}
	trace := p.Trace()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, node := range trace.Nodes {
		if node.Op == "Transpose" {
			t.Error("a matrix is transposed")
		}
	}
	dx, dw := make([]float64, n*in), make([]float64, out*in)
	for i := range n {
		for o := range out {
			y := at("bias")[o]
			for k := range in {
				y += at("x")[i*in+k] * at("w")[o*in+k]
			}
			for k := range in {
				dx[i*in+k] += 2 * y * at("w")[o*in+k]
				dw[o*in+k] += 2 * y * at("x")[i*in+k]
			}
		}
	}
	for i, want := range [][]float64{dx, dw} {
		if got := onnx.Of[float64](p.Output(grads[i].Name)); !nearAll(got, want, 1e-12) {
			t.Errorf("gradient %d is %v, want %v", i, got, want)
		}
	}
}
