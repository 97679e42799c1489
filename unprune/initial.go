package unprune

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// DrawInitial draws the initial weights that PyTorch draws, to the bit, after
// torch.manual_seed(seed), for a network of Conv and Linear layers with biases
// that were created in graph order: weights and biases uniform in ±1/sqrt(fan
// in). Networks with other parameters (normalisation, embeddings) are an
// error: their initial values are not a matter of shape.
func DrawInitial(e Engine, seed uint32) (*Weights, error) {
	layers := map[string]sparsity.Layer{}
	for _, l := range e.Layers() {
		layers[l.Name] = l
	}
	drawn := NewWeights()
	random := newMersenne(seed)
	fan, outputs := 0, -1 // of the layer whose weight came last
	for _, name := range e.Weights().Names {
		t := e.Weights().Tensors[name]
		// torch.nn.init.kaiming_uniform_ with a = sqrt(5), and the bias rule:
		// the same bound, rounded in different places.
		bound := 1 / math.Sqrt(float64(fan))
		if l, ok := layers[name]; ok {
			fan, outputs = fanIn(l), l.Units(sparsity.Filter)
			bound = math.Sqrt(3) * (math.Sqrt(2.0/(1+math.Sqrt(5)*math.Sqrt(5))) / math.Sqrt(float64(fan)))
		} else if t.Len() != outputs || e.Weights().Stats[name] {
			return nil, fmt.Errorf("unprune: the initial value of %q is unknown; give the initial weights", name)
		} else {
			outputs = -1 // one bias a layer
		}
		d := onnx.NewTensor(t.DType, t.Shape...)
		d.Name = name
		for i := range d.Len() {
			set(d, i, float64(random.uniform(float32(-bound), float32(bound))))
		}
		drawn.Add(name, d, false)
	}
	return drawn, nil
}

// mersenne is the generator MT19937 (Matsumoto and Nishimura 1998), which
// PyTorch draws from on a CPU.
type mersenne struct {
	state [624]uint32
	next  int
}

func newMersenne(seed uint32) *mersenne {
	m := &mersenne{next: 624}
	m.state[0] = seed
	for i := 1; i < len(m.state); i++ {
		m.state[i] = 1812433253*(m.state[i-1]^m.state[i-1]>>30) + uint32(i)
	}
	return m
}

func (m *mersenne) uint32() uint32 {
	if m.next == len(m.state) {
		m.twist()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mersenne) twist() {
	n := len(m.state)
	for i := range m.state {
		y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7fffffff
		m.state[i] = m.state[(i+397)%n] ^ y>>1 ^ y&1*0x9908b0df
	}
	m.next = 0
}

// uniform draws 24 bits, as PyTorch does for float32.
func (m *mersenne) uniform(from, to float32) float32 {
	x := float64(m.uint32()&(1<<24-1)) / (1 << 24)
	return float32(x*float64(to-from) + float64(from))
}
