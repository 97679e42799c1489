package pass_test

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

func importDuty(t *testing.T, name string, o pass.Options) *pass.Model {
	t.Helper()
	m, err := onnx.Read(filepath.Join("../../models/testdata/duties", name+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := o.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func says(im *pass.Model, part string) bool {
	return slices.ContainsFunc(im.Notes, func(n string) bool { return strings.Contains(n, part) })
}

// labels of the trainable parameters, in order.
func labels(im *pass.Model) []string {
	var list []string
	for _, p := range im.Params {
		if p.Trainable {
			list = append(list, p.Label)
		}
	}
	return list
}

func labelled(t *testing.T, im *pass.Model, label string) *pass.Param {
	t.Helper()
	for _, p := range im.Params {
		if p.Label == label {
			return p
		}
	}
	t.Fatalf("no parameter is labelled %q; there are %q", label, labels(im))
	return nil
}

// TestTrained lists what is trained in each file, under PyTorch's names, and
// what the import says about it.
func TestTrained(t *testing.T) {
	const convFC = "conv.weight conv.bias fc.weight fc.bias"
	for _, tt := range []struct{ file, trained, note string }{
		{"bn-folded-ts", convFC, "batch normalisation is folded into 1"},
		{"bn-training", "conv.weight conv.bias bn.weight bn.bias fc.weight fc.bias", "exported in training mode"},
		{"dropout-parts", convFC, "exported in parts"},
		{"weight-norm-ts", convFC, "expressions of others"},
		{"weight-norm-dyn", convFC, "expressions of others"},
		{"lstm-dyn", "embedding.weight rnn.weight_ih_l0 rnn.weight_hh_l0 rnn.bias_l0 fc.weight fc.bias", "expressions of others"},
		{"class-token-fixed", "position mlp.0.weight mlp.0.bias fc.weight fc.bias", "dynamic batch"},
		{"zero-bias", "conv.weight fc.weight fc.bias", ""},
		{"chunk", convFC, ""},
		{"data-parallel", convFC, ""},
		{"functions", convFC, "local functions are inlined"},
		{"stored-float16", "conv.weight conv.bias fc.weight.stored fc.bias.stored", "half precision again"},
		{"group-norm", "conv.weight conv.bias onnx::Mul_24 onnx::Add_25 fc.weight fc.bias", ""},
	} {
		t.Run(tt.file, func(t *testing.T) {
			im := importDuty(t, tt.file, pass.Options{})
			if got := strings.Join(labels(im), " "); got != tt.trained {
				t.Errorf("trained are %s, want %s", got, tt.trained)
			}
			if tt.note != "" && !says(im, tt.note) {
				t.Errorf("no note says %q: %q", tt.note, im.Notes)
			}
		})
	}
}

// TestRecoveredNames: transposed linear layers and folded convolutions have
// lost their names; parts that must be cut together are known.
func TestRecoveredNames(t *testing.T) {
	for _, tt := range []struct{ file, label, from, parts string }{
		{"linear-3d-ts", "mlp.0.weight", pass.FromBias, ""},
		{"linear-3d-dyn", "mlp.0.weight", pass.FromBias, ""},
		{"bn-folded-ts", "conv.weight", pass.FromNode, ""},
		{"tied", "blocks.0.up.weight", pass.FromMetadata, ""},
		{"qkv-ts", "attention.in_proj_weight", pass.FromBias, "q k v"},
		{"qkv-dyn", "attention.in_proj_weight", pass.FromBias, "q k v"},
		{"qkv-split-ts", "qkv.weight", pass.FromBias, "q k v"},
		{"qkv-split-dyn", "qkv.weight", pass.FromBias, "q k v"},
		{"attention-23", "blocks.1.qkv.weight", pass.FromMetadata, "q k v"},
		{"lstm-ts", "rnn.weight_hh", pass.FromNode, "i o f c"},
		{"bilstm-dyn", "rnn.weight_ih", pass.FromMetadata, "i o f c"},
		{"gru-ts", "rnn.weight_ih", pass.FromNode, "z r h"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			p := labelled(t, importDuty(t, tt.file, pass.Options{}), tt.label)
			if p.LabelFrom != tt.from || strings.Join(p.Parts, " ") != tt.parts {
				t.Errorf("from %s with parts %q, want from %s with %q", p.LabelFrom, p.Parts, tt.from, tt.parts)
			}
			shape := p.Tensor().Shape
			if len(p.Parts) > 0 && shape[p.OutAxis]%len(p.Parts) != 0 {
				t.Errorf("%d outputs do not fall into %d parts", shape[p.OutAxis], len(p.Parts))
			}
		})
	}
}

// TestWeightNormFolds: the folded weight is v g / |v|, per filter.
func TestWeightNormFolds(t *testing.T) {
	for file, leaves := range map[string][2]string{
		"weight-norm-ts":  {"conv.weight_v", "conv.weight_g"},
		"weight-norm-dyn": {"conv.parametrizations.weight.original1", "conv.parametrizations.weight.original0"},
	} {
		kept := importDuty(t, file, pass.Options{KeepExpressions: true})
		v, g := kept.Param(leaves[0]), kept.Param(leaves[1])
		if v == nil || g == nil || !v.Trainable || !g.Trainable {
			t.Fatalf("%s: kept expressions do not train direction and length: %q", file, labels(kept))
		}
		if !says(kept, "stay so") {
			t.Errorf("%s: no note says that the expressions are kept: %q", file, kept.Notes)
		}
		w := onnx.Of[float32](labelled(t, importDuty(t, file, pass.Options{}), "conv.weight").Tensor())
		direction, length := onnx.Of[float32](v.Tensor()), onnx.Of[float32](g.Tensor())
		n := len(direction) / len(length)
		for i, x := range direction {
			sum := 0.0
			for _, d := range direction[i/n*n : (i/n+1)*n] {
				sum += float64(d) * float64(d)
			}
			want := float64(x) * float64(length[i/n]) / math.Sqrt(sum)
			if d := math.Abs(float64(w[i]) - want); !(d <= 1e-6*math.Max(1, math.Abs(want))) {
				t.Fatalf("%s: conv.weight[%d] is %g, want %g", file, i, w[i], want)
			}
		}
	}
}

// TestTied: the output layer reads the embedding, and is gone as a parameter
// of its own.
func TestTied(t *testing.T) {
	for _, file := range []string{"tied", "attention-23"} {
		im := importDuty(t, file, pass.Options{})
		p := labelled(t, im, "head.weight")
		if len(p.Value.Uses()) != 2 || p.Role != pass.Embedding || !says(im, "tied") {
			t.Errorf("%s: %d uses, role %s, notes %q", file, len(p.Value.Uses()), p.Role, im.Notes)
		}
	}
}

// TestKeepTied leaves merged initializers of an untrained network merged.
func TestKeepTied(t *testing.T) {
	m, err := onnx.Read("../../models/testdata/dialects/resnet-18-cifar.theta0.ts17-unfolded.onnx")
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Options{KeepTied: true}.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(im, pass.Scale) + count(im, pass.Shift); got >= 40 {
		t.Errorf("%d scales and shifts are apart; the file has fewer", got)
	}
}

// TestDims gives the sequence an extent by its name.
func TestDims(t *testing.T) {
	im := importDuty(t, "sequence-length", pass.Options{Dims: map[string]int{"sequence": 7}})
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	if got := []int(g.Inputs[0].Shape); !slices.Equal(got, []int{4, 7, 8}) {
		t.Errorf("the input is %v, want [4 7 8]", got)
	}
	m, err := im.ToONNX()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Graph.Inputs[0].Type.Tensor.Shape[1].Param; got != "sequence" {
		t.Errorf("the file that is written calls the axis %q, want sequence", got)
	}

	im = importDuty(t, "sequence-length", pass.Options{})
	if _, err := pass.Specialise(im.Graph, pass.Target{Batch: 4}); err == nil || !strings.Contains(err.Error(), "(sequence)") {
		t.Errorf("error %v, want one that names the dimension", err)
	}
	if _, err := pass.Specialise(im.Graph, pass.Target{Batch: 4, Dims: map[string]int{"length": 7}}); err == nil || !strings.Contains(err.Error(), "batch, sequence") {
		t.Errorf("error %v, want one that lists the names", err)
	}
}

// TestHalfIsWrittenBack: float32 while training, the file's type on disk.
func TestHalfIsWrittenBack(t *testing.T) {
	for file, want := range map[string]onnx.DType{"half": onnx.Float16, "stored-float16": onnx.Float16, "stored-bfloat16": onnx.BFloat16} {
		im := importDuty(t, file, pass.Options{})
		for _, p := range im.Params {
			if p.Trainable && (p.Tensor().DType != onnx.Float32 || p.Stored != want) {
				t.Errorf("%s: %s is %v, stored as %v", file, p.Name(), p.Tensor().DType, p.Stored)
			}
		}
		m, err := im.ToONNX()
		if err != nil {
			t.Fatal(err)
		}
		for _, init := range m.Graph.Initializers {
			if init.DType == onnx.Float32 {
				t.Errorf("%s: %q is written as float32", file, init.Name)
			}
		}
		for _, p := range im.Params {
			p.Stored = onnx.Undefined
		}
		if m, err = im.ToONNX(); err != nil {
			t.Fatal(err)
		}
		for _, init := range m.Graph.Initializers {
			if init.DType == want {
				t.Errorf("%s: %q is written as %v, though float32 was asked for", file, init.Name, want)
			}
		}
	}
}

// TestTrainingModeIsWrittenBack: what is written is for inference.
func TestTrainingModeIsWrittenBack(t *testing.T) {
	m, err := importDuty(t, "bn-training", pass.Options{}).ToONNX()
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for _, n := range m.Graph.Nodes {
		if n.OpType != "BatchNormalization" {
			continue
		}
		norms++
		mode := slices.ContainsFunc(n.Attrs, func(a *onnx.Attr) bool { return a.Name == "training_mode" && a.I != 0 })
		if mode || len(n.Outputs) != 1 {
			t.Errorf("node %q is written with %d outputs, training mode %v", n.Name, len(n.Outputs), mode)
		}
	}
	if norms != 1 {
		t.Errorf("%d BatchNormalization nodes are written, want 1", norms)
	}
}

// TestDropoutsDraw: both ways of writing dropout want noise in training, none
// in inference.
func TestDropoutsDraw(t *testing.T) {
	for file, ratio := range map[string]float64{"dropout": 0.3, "dropout-parts": 0.2} {
		im := importDuty(t, file, pass.Options{})
		for _, training := range []bool{false, true} {
			g, err := pass.Specialise(im.Graph, pass.Target{Batch: 4, Training: training})
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if training {
				want = 1
			}
			if len(g.Noise) != want || want == 1 && math.Abs(g.Noise[0].Ratio-ratio) > 1e-6 {
				t.Errorf("%s, training %v: noise %v, want %d of ratio %g", file, training, g.Noise, want, ratio)
			}
		}
	}
}
