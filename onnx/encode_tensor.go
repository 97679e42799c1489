package onnx

import "github.com/unprune/unprune/onnx/internal/pb"

// initializer is tensor for those tensors that may be kept in another file.
func (e *encoder) initializer(t *Tensor) (*pb.TensorProto, error) {
	p, err := e.tensor(t)
	if err != nil || e.external == nil || t.DType == String {
		return p, err
	}
	if raw := rawBytes(t.Data); len(raw) >= e.external.threshold {
		e.external.add(p, raw)
	}
	return p, nil
}

func (e *encoder) tensor(t *Tensor) (*pb.TensorProto, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	k := t.kept
	p := &pb.TensorProto{
		Name:          give(k, tensorName, t.Name),
		DataType:      give(k, tensorDType, int32(t.DType)),
		DocString:     give(k, tensorDoc, t.Doc),
		MetadataProps: pairMessages(t.Metadata),
		DataLocation:  give(k, tensorLocation, pb.TensorProto_DEFAULT),
	}
	k.giveUnknown(p)
	for _, d := range t.Shape {
		p.Dims = append(p.Dims, int64(d))
	}
	if k.isZero(tensorRaw) {
		p.RawData = []byte{}
	}
	t.store(p)
	return p, nil
}

// check says what keeps t from being written.
func (t *Tensor) check() error {
	for _, d := range t.Shape {
		if d < 0 {
			return formatErrorf("shape %v has a negative extent", head(t.Shape))
		}
	}
	switch data := t.Data.(type) {
	case nil:
		if t.DType != Undefined {
			return formatErrorf("has no data, shape %v of %v needs some", head(t.Shape), t.DType)
		}
		return nil
	case Packed:
		need := packedSize(t.DType, t.Len())
		if !t.DType.IsPacked() {
			return formatErrorf("data of type %v are Packed", t.DType)
		}
		if len(data) != need && !isUnknown(t.DType) {
			return formatErrorf("data have %d bytes, shape %v of %v needs %d", len(data), head(t.Shape), t.DType, need)
		}
		return nil
	}
	if !holds(t.DType, dtypeOf(t.Data)) {
		return formatErrorf("data of type %v are %T", t.DType, t.Data)
	}
	if n := lengthOf(t.Data); n != t.Len() {
		return formatErrorf("data have %d elements, shape %v needs %d", n, head(t.Shape), t.Len())
	}
	return nil
}

// holds reports whether elements of type dt are held as Go's counterpart of as.
func holds(dt, as DType) bool {
	if dt == Float16 || dt == BFloat16 {
		dt = Uint16
	}
	return dt == as && dt != Undefined
}

// lengthOf is the number of elements in data, of bytes if they are Packed.
func lengthOf(data any) int {
	if s, ok := data.([]string); ok {
		return len(s)
	}
	b, _ := view(data)
	if size := dtypeOf(data).Size(); size > 0 {
		return len(b) / size
	}
	return len(b)
}

// store puts the elements of t into the field where they stood when t was read,
// if its type belongs there still.
func (t *Tensor) store(p *pb.TensorProto) {
	switch {
	case t.Data == nil, t.storage == storageEmpty && lengthOf(t.Data) == 0:
	case t.DType == String, t.storage == storageOf(t.DType) && !isUnknown(t.DType):
		t.storeTyped(p)
	default:
		// The message shares t's memory; nil would leave the field out.
		if p.RawData = rawBytes(t.Data); p.RawData == nil {
			p.RawData = []byte{}
		}
	}
}

// storeTyped puts the elements into the typed field for t's type, the inverse of
// typedElements.
func (t *Tensor) storeTyped(p *pb.TensorProto) {
	switch s := t.Data.(type) {
	case []float32:
		p.FloatData = s
	case []complex64:
		p.FloatData = parts(s, func(c complex64) (re, im float32) { return real(c), imag(c) })
	case []float64:
		p.DoubleData = s
	case []complex128:
		p.DoubleData = parts(s, func(c complex128) (re, im float64) { return real(c), imag(c) })
	case []int64:
		p.Int64Data = s
	case []uint64:
		p.Uint64Data = s
	case []uint32:
		p.Uint64Data = widened[uint64](s)
	case []string:
		p.StringData = messages(s, func(v string) []byte { return []byte(v) })
	case []int32:
		p.Int32Data = s
	case []int16:
		p.Int32Data = widened[int32](s)
	case []int8:
		p.Int32Data = widened[int32](s)
	case []uint16:
		p.Int32Data = widened[int32](s)
	case []uint8:
		p.Int32Data = widened[int32](s)
	case []bool:
		p.Int32Data = widened[int32](viewOf(s))
	case Packed:
		if dtypes[t.DType].bits == 6 {
			s = unpack6(s, t.Len())
		}
		p.Int32Data = widened[int32](s)
	}
}

func widened[W int32 | uint64, T int8 | int16 | uint8 | uint16 | uint32](s []T) []W {
	return messages(s, func(v T) W { return W(v) })
}

// parts is the inverse of complexes.
func parts[C complex64 | complex128, F float32 | float64](s []C, split func(C) (re, im F)) []F {
	out := make([]F, 0, 2*len(s))
	for _, c := range s {
		re, im := split(c)
		out = append(out, re, im)
	}
	return out
}

// pack6 makes a stream of bits, lowest first, of 6-bit numbers that stand in a
// byte each: raw_data has them so, int32_data one by one.
func pack6(s []byte) []byte {
	packed := make([]byte, (6*len(s)+7)/8)
	for i, v := range s {
		bit := 6 * i
		wide := uint16(v&63) << (bit % 8)
		packed[bit/8] |= byte(wide)
		if wide>>8 != 0 {
			packed[bit/8+1] |= byte(wide >> 8)
		}
	}
	return packed
}

// unpack6 is the inverse of pack6 for n numbers.
func unpack6(packed []byte, n int) []byte {
	s := make([]byte, n)
	for i := range s {
		bit := 6 * i
		wide := uint16(packed[bit/8])
		if bit/8+1 < len(packed) {
			wide |= uint16(packed[bit/8+1]) << 8
		}
		s[i] = byte(wide>>(bit%8)) & 63
	}
	return s
}
