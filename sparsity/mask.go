package sparsity

import (
	"bytes"
	"fmt"
	"iter"
	"math/bits"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Mask is a set of positions of a tensor: 1 = kept, 0 = pruned. It is a bit
// set in row-major order, the most significant bit of a byte first, as in
// numpy.packbits. Unused bits of the last byte are 0.
type Mask struct {
	shape []int
	n     int
	bits  []byte
}

// NewMask returns a mask of the given shape with everything pruned. It panics
// on a negative extent.
func NewMask(shape ...int) *Mask {
	n := onnx.Size(shape)
	return &Mask{shape: slices.Clone(shape), n: n, bits: make([]byte, (n+7)/8)}
}

// FullMask returns a mask of the given shape with everything kept.
func FullMask(shape ...int) *Mask {
	m := NewMask(shape...)
	for i := range m.bits {
		m.bits[i] = 0xff
	}
	m.clearTail()
	return m
}

// FromValues returns the mask of the values that are not zero. Negative zero,
// which x*0 leaves behind, is zero.
func FromValues(t *onnx.Tensor) (*Mask, error) {
	m := NewMask(t.Shape...)
	switch d := t.Data.(type) {
	case []float32:
		keepNonzero(m, d, func(v float32) bool { return v != 0 })
	case []float64:
		keepNonzero(m, d, func(v float64) bool { return v != 0 })
	case []uint16:
		if !t.DType.IsFloat() {
			return nil, errNotFloat(t)
		}
		keepNonzero(m, d, func(v uint16) bool { return v&0x7fff != 0 }) // all but the sign
	default:
		return nil, errNotFloat(t)
	}
	return m, nil
}

func keepNonzero[T any](m *Mask, values []T, nonzero func(T) bool) {
	for i, v := range values {
		if nonzero(v) {
			m.Set(i, true)
		}
	}
}

func errNotFloat(t *onnx.Tensor) error {
	return fmt.Errorf("sparsity: weight %q is of type %v: masks apply to floating-point weights", t.Name, t.DType)
}

// FromPacked returns the mask of the given shape whose bits are packed. It
// copies packed.
func FromPacked(packed []byte, shape ...int) (*Mask, error) {
	m := NewMask(shape...)
	if len(packed) != len(m.bits) {
		return nil, fmt.Errorf("sparsity: a mask of shape %v takes %d bytes, not %d", shape, len(m.bits), len(packed))
	}
	copy(m.bits, packed)
	m.clearTail()
	if !bytes.Equal(m.bits, packed) {
		return nil, fmt.Errorf("sparsity: a mask of shape %v has bits set beyond its end", shape)
	}
	return m, nil
}

// Packed returns the bits; the caller must not change them.
func (m *Mask) Packed() []byte { return m.bits }

// Shape is the shape of the tensor that the mask belongs to; the caller must
// not change it.
func (m *Mask) Shape() []int { return m.shape }

// Len is the number of positions, kept and pruned.
func (m *Mask) Len() int { return m.n }

// Get reports whether position i (a flat index) is kept.
func (m *Mask) Get(i int) bool { return m.bits[i>>3]&(0x80>>(i&7)) != 0 }

// Set keeps or prunes position i.
func (m *Mask) Set(i int, keep bool) {
	if bit := byte(0x80) >> (i & 7); keep {
		m.bits[i>>3] |= bit
	} else {
		m.bits[i>>3] &^= bit
	}
}

// Count is the number of kept positions.
func (m *Mask) Count() int {
	n := 0
	for _, b := range m.bits {
		n += bits.OnesCount8(b)
	}
	return n
}

// Density is the share of kept positions, 0 to 1; 1 for an empty tensor.
func (m *Mask) Density() float64 { return density(m.Count(), m.n) }

func density(kept, n int) float64 {
	if n == 0 {
		return 1
	}
	return float64(kept) / float64(n)
}

// Kept yields the flat indices of the kept positions in rising order.
func (m *Mask) Kept() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, b := range m.bits {
			for b != 0 {
				lead := bits.LeadingZeros8(b)
				if !yield(i<<3 + lead) {
					return
				}
				b &^= 0x80 >> lead
			}
		}
	}
}

// Clone returns a copy.
func (m *Mask) Clone() *Mask {
	return &Mask{shape: slices.Clone(m.shape), n: m.n, bits: bytes.Clone(m.bits)}
}

// Equal reports whether both masks have the same shape and keep the same
// positions.
func (m *Mask) Equal(o *Mask) bool {
	return slices.Equal(m.shape, o.shape) && bytes.Equal(m.bits, o.bits)
}

// And returns the positions kept by both. Like Or and AndNot it panics when
// the masks have different numbers of positions.
func (m *Mask) And(o *Mask) *Mask {
	return m.combine(o, func(a, b byte) byte { return a & b })
}

// Or returns the positions kept by either.
func (m *Mask) Or(o *Mask) *Mask {
	return m.combine(o, func(a, b byte) byte { return a | b })
}

// AndNot returns the positions kept by m and pruned by o.
func (m *Mask) AndNot(o *Mask) *Mask {
	return m.combine(o, func(a, b byte) byte { return a &^ b })
}

func (m *Mask) combine(o *Mask, op func(a, b byte) byte) *Mask {
	if m.n != o.n {
		panic(fmt.Sprintf("sparsity: masks of shapes %v and %v", m.shape, o.shape))
	}
	r := NewMask(m.shape...)
	for i := range r.bits {
		r.bits[i] = op(m.bits[i], o.bits[i])
	}
	return r
}

// Apply writes 0 (never -0) to every pruned position of t.
func (m *Mask) Apply(t *onnx.Tensor) error {
	if !slices.Equal(m.shape, t.Shape) {
		return fmt.Errorf("sparsity: mask of shape %v for weight %q of shape %v: they belong to different models", m.shape, t.Name, t.Shape)
	}
	switch d := t.Data.(type) {
	case []float32:
		zeroPruned(m, d)
	case []float64:
		zeroPruned(m, d)
	case []uint16:
		if !t.DType.IsFloat() {
			return errNotFloat(t)
		}
		zeroPruned(m, d)
	default:
		return errNotFloat(t)
	}
	return nil
}

func zeroPruned[T float32 | float64 | uint16](m *Mask, values []T) {
	for i := range values {
		if !m.Get(i) {
			values[i] = 0
		}
	}
}

// Expand writes the mask as numbers, 1 = kept and 0 = pruned, to dst. It
// panics when dst has not exactly Len elements.
func Expand[T float32 | float64](m *Mask, dst []T) {
	if len(dst) != m.n {
		panic(fmt.Sprintf("sparsity: %d elements for a mask of shape %v", len(dst), m.shape))
	}
	clear(dst)
	for i := range m.Kept() {
		dst[i] = 1
	}
}

// clearTail puts the unused bits of the last byte to 0.
func (m *Mask) clearTail() {
	if r := m.n & 7; r != 0 {
		m.bits[len(m.bits)-1] &= 0xff << (8 - r)
	}
}
