package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Blocks of pixels to channels and back: permutations of six axes.
func init() {
	register(
		Op{
			Name: "DepthToSpace", Since: []int{1, 11, 13},
			Infer: inferDepthToSpace, Grad: gradDepthToSpace, Forward: forwardDepthToSpace, Body: bodyDepthToSpace,
		},
		Op{
			Name: "SpaceToDepth", Since: []int{1, 13},
			Infer: inferSpaceToDepth, Grad: gradSpaceToDepth, Forward: forwardSpaceToDepth, Body: bodySpaceToDepth,
		},
	)
}

// depthBlocks returns x's extents with the block of DepthToSpace or SpaceToDepth
// split off, as six axes, and the order in which the result has them.
// DCR: depth is (block, block, channel); CRD: (channel, block, block).
func depthBlocks(n *graph.Node) (split []int, perm []int, err error) {
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	if len(s) != 4 || block < 1 || block > 1<<15 || s[1]%(block*block) != 0 {
		return nil, nil, fmt.Errorf("blocksize %d does not fit shape %v", block, []int(s))
	}
	c := s[1] / (block * block)
	switch mode := n.Str("mode", "DCR"); mode {
	case "DCR":
		return []int{s[0], block, block, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}, nil
	case "CRD":
		return []int{s[0], c, block, block, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}, nil
	default:
		return nil, nil, fmt.Errorf("mode %q, want DCR or CRD", mode)
	}
}

func spaceBlocks(n *graph.Node) (split []int, perm []int, err error) {
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	if len(s) != 4 || block < 1 || block > 1<<15 || s[2]%block != 0 || s[3]%block != 0 {
		return nil, nil, fmt.Errorf("blocksize %d does not fit shape %v", block, []int(s))
	}
	split = []int{s[0], s[1], s[2] / block, block, s[3] / block, block}
	switch mode := n.Str("mode", "DCR"); mode { // an attribute from version 28 on
	case "DCR":
		return split, []int{0, 3, 5, 1, 2, 4}, nil
	case "CRD":
		return split, []int{0, 1, 3, 5, 2, 4}, nil
	default:
		return nil, nil, fmt.Errorf("mode %q, want DCR or CRD", mode)
	}
}

func inferDepthToSpace(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if _, _, err := depthBlocks(n); err != nil {
		return err
	}
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{s[0], s[1] / (block * block), s[2] * block, s[3] * block})
}

func inferSpaceToDepth(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if _, _, err := spaceBlocks(n); err != nil {
		return err
	}
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{s[0], s[1] * block * block, s[2] / block, s[3] / block})
}

func forwardDepthToSpace(c *Call) (func() error, error) { return forwardBlocks(c, depthBlocks) }
func forwardSpaceToDepth(c *Call) (func() error, error) { return forwardBlocks(c, spaceBlocks) }

func bodyDepthToSpace(b *Builder, n *graph.Node) (values, error) {
	return bodyBlocks(b, n, depthBlocks)
}

func bodySpaceToDepth(b *Builder, n *graph.Node) (values, error) {
	return bodyBlocks(b, n, spaceBlocks)
}

func gradDepthToSpace(b *Builder, n *graph.Node, dy values) (values, error) {
	return gradBlocks(b, n, dy, depthBlocks)
}

func gradSpaceToDepth(b *Builder, n *graph.Node, dy values) (values, error) {
	return gradBlocks(b, n, dy, spaceBlocks)
}

// forwardBlocks permutes the six axes of blocks.
func forwardBlocks(c *Call, blocks func(*graph.Node) ([]int, []int, error)) (func() error, error) {
	split, perm, err := blocks(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	view := &onnx.Tensor{DType: c.In[0].DType, Shape: split, Data: c.In[0].Data}
	return e.transpose(c.Team, c.Out[0], view, perm), nil
}

func bodyBlocks(b *Builder, n *graph.Node, blocks func(*graph.Node) ([]int, []int, error)) (values, error) {
	split, perm, err := blocks(n)
	if err != nil {
		return nil, err
	}
	y := b.Transpose(b.Reshape(n.Inputs[0], split...), perm...)
	return values{b.Reshape(y, n.Outputs[0].Shape...)}, nil
}

// gradBlocks moves the six axes back.
func gradBlocks(b *Builder, n *graph.Node, dy values, blocks func(*graph.Node) ([]int, []int, error)) (values, error) {
	split, perm, err := blocks(n)
	if err != nil {
		return nil, err
	}
	extents, inverse := make([]int, 6), make([]int, 6)
	for i, p := range perm {
		extents[i], inverse[p] = split[p], i
	}
	dx := b.Transpose(b.Reshape(dy[0], extents...), inverse...)
	return values{b.Reshape(dx, n.Inputs[0].Shape...)}, nil
}
