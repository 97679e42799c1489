package ops

import "github.com/unprune/unprune/graph"

// Products is the number of multiply-adds of a graph's convolutions and matrix
// products, whose shapes are known. A fused multiply-add counts as two
// floating-point operations. Everything else, and operators that are spelled out
// in others, count nothing.
func Products(g *graph.Graph) int {
	total := 0
	for _, n := range g.Nodes {
		total += products(n)
	}
	return total
}

// products counts those of one node: a convolution and its two gradients have
// equally many, one per output element, input channel of its group and kernel
// position.
func products(n *graph.Node) int {
	in := func(slot int) graph.Shape {
		if v := n.Input(slot); v != nil {
			return v.Shape
		}
		return nil
	}
	out := n.Output(0)
	if out == nil {
		return 0
	}
	switch (key{n.Domain, n.Op}) {
	case key{"", "Conv"}:
		return out.Shape.Size() * in(1)[1:].Size()
	case key{Domain, "ConvGradInput"}:
		return in(0).Size() * in(1)[1:].Size()
	case key{Domain, "ConvGradWeight"}, key{Domain, "ConvSampleSquares"}:
		return in(1).Size() * out.Shape[1:].Size()
	case key{Domain, "SparseMatMul"}:
		return in(0)[0] * in(1).Size()
	case key{Domain, "SparseMatMulGrad"}:
		return in(0)[0] * out.Shape.Size()
	case key{Domain, "SparseConv"}:
		return out.Shape.Size() / out.Shape[1] * in(1).Size()
	case key{Domain, "SparseConvGradInput"}:
		return in(0).Size() / in(0)[1] * in(1).Size()
	case key{Domain, "SparseConvGradWeight"}:
		return in(1).Size() / in(1)[1] * out.Shape.Size()
	case key{"", "Gemm"}:
		k := in(0)[1]
		if n.Int("transA", 0) != 0 {
			k = in(0)[0]
		}
		return out.Shape.Size() * k
	case key{Domain, "GemmSGD"}:
		k := in(2)[1]
		if n.Int("transA", 0) != 0 {
			k = in(2)[0]
		}
		return out.Shape.Size() * k
	case key{Domain, "HeadAttention"}:
		return headProducts(n, 1, 1)
	case key{Domain, "HeadAttentionGrad"}:
		return headProducts(n, 2, 2)
	case key{"", "MatMul"}:
		return out.Shape.Size() * in(0)[len(in(0))-1]
	}
	return 0
}

// headProducts counts products over the elements of queries or keys, and over
// those of values.
func headProducts(n *graph.Node, dim, width int) int {
	h, err := readHeads(n)
	if err != nil {
		return 0
	}
	return h.Batch * h.Heads * h.Queries * h.Keys * (dim*h.Dim + width*h.Width)
}
