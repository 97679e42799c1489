package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators on the bits of integers.
func init() {
	const why = "the result is an integer"
	pair := func(name string, since int) Op {
		return Op{Name: name, Since: []int{since}, NoGrad: why, Infer: inferBits, Forward: forwardBits}
	}
	register(
		pair("BitwiseAnd", 18), pair("BitwiseOr", 18), pair("BitwiseXor", 18), pair("BitShift", 11),
		Op{Name: "BitwiseNot", Since: []int{18}, NoGrad: why, InPlace: []int{0}, Infer: inferSame(integers...), Forward: forwardBitwiseNot},
	)
}

var integers = numbers[2:]

type integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func inferBits(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, integers...); err != nil {
		return err
	}
	if d := n.Str("direction", ""); n.Op == "BitShift" && d != "LEFT" && d != "RIGHT" {
		return fmt.Errorf("direction is %q, want LEFT or RIGHT", d)
	}
	return inferBinary(n)
}

func forwardBits(c *Call) (func() error, error) {
	switch c.In[0].Data.(type) {
	case []int8:
		return bits[int8](c)
	case []int16:
		return bits[int16](c)
	case []int32:
		return bits[int32](c)
	case []int64:
		return bits[int64](c)
	case []uint8:
		return bits[uint8](c)
	case []uint16:
		return bits[uint16](c)
	case []uint32:
		return bits[uint32](c)
	}
	return bits[uint64](c)
}

func bits[T integer](c *Call) (func() error, error) {
	var f func(a, b T) T
	switch name := c.Node.Op; {
	case name == "BitwiseAnd":
		f = func(a, b T) T { return a & b }
	case name == "BitwiseOr":
		f = func(a, b T) T { return a | b }
	case name == "BitwiseXor":
		f = func(a, b T) T { return a ^ b }
	case c.Node.Str("direction", "") == "LEFT":
		f = func(a, b T) T { return a << uint64(b) }
	default:
		f = func(a, b T) T { return a >> uint64(b) }
	}
	return zip(onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1]), walkPair(c.Out[0], c.In[0], c.In[1]), f), nil
}

func forwardBitwiseNot(c *Call) (func() error, error) {
	switch x := c.In[0].Data.(type) {
	case []int8:
		return invert(c, x), nil
	case []int16:
		return invert(c, x), nil
	case []int32:
		return invert(c, x), nil
	case []int64:
		return invert(c, x), nil
	case []uint8:
		return invert(c, x), nil
	case []uint16:
		return invert(c, x), nil
	case []uint32:
		return invert(c, x), nil
	}
	return invert(c, onnx.Of[uint64](c.In[0])), nil
}

func invert[T integer](c *Call, x []T) func() error {
	return mapTo(onnx.Of[T](c.Out[0]), x, func(v T) T { return ^v })
}
