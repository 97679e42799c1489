package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx"
)

// real lists the Go types that arithmetic is implemented for.
type real interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// A number computes with elements of one type, one at a time: right for the
// small integer tensors of shape arithmetic. Floating-point operators that
// matter for speed use package kernel instead.
type number interface {
	// binary applies an arithmetic operator on a walk over (out, a, b).
	binary(op string, out, a, b *onnx.Tensor, w *walk) (func() error, error)
	// compare applies a comparison on a walk over (out, a, b).
	compare(op string, out, a, b *onnx.Tensor, w *walk) (func() error, error)
	// unary applies a function to each element.
	unary(op string, out, in *onnx.Tensor) (func() error, error)
	// reduce folds in into out on a walk over (out, in).
	reduce(op string, out, in *onnx.Tensor, w *walk) (func() error, error)
	// accumulate is element.scatter that combines with what out holds.
	accumulate(reduction string, out, in *onnx.Tensor, length int, to []int) (func(), error)
	// best finds the index of the largest or smallest element of every line.
	best(out, in *onnx.Tensor, l lines, smallest, last bool) func() error
	// top keeps the first elements of every line after sorting.
	top(values, index, in *onnx.Tensor, l lines, smallest bool) func() error
	// cumulate sums every line from its start.
	cumulate(out, in *onnx.Tensor, l lines, exclusive, reverse bool) func() error
	// sequence writes start, start+delta, ...
	sequence(out, start, delta *onnx.Tensor) func() error
	// rangeLen is how many elements a sequence has before it reaches limit.
	rangeLen(start, limit, delta *onnx.Tensor) (int, error)
	// one sets element at of out to 1.
	one(out *onnx.Tensor, at int)
}

type numberOf[T real] struct{}

var numberTypes = map[onnx.DType]number{
	onnx.Float32: numberOf[float32]{}, onnx.Float64: numberOf[float64]{},
	onnx.Int8: numberOf[int8]{}, onnx.Int16: numberOf[int16]{},
	onnx.Int32: numberOf[int32]{}, onnx.Int64: numberOf[int64]{},
	onnx.Uint8: numberOf[uint8]{}, onnx.Uint16: numberOf[uint16]{},
	onnx.Uint32: numberOf[uint32]{}, onnx.Uint64: numberOf[uint64]{},
}

// numberFor returns the entry for t's type.
func numberFor(t *onnx.Tensor) (number, error) {
	if k := numberTypes[t.DType]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("cannot compute with elements of type %v", t.DType)
}

// byFloat prepares the kernel of the precision of c's first input.
func byFloat(c *Call, single, double func(*Call) (func() error, error)) (func() error, error) {
	switch c.In[0].DType {
	case onnx.Float32:
		return single(c)
	case onnx.Float64:
		return double(c)
	}
	return nil, fmt.Errorf("has no kernel for %v", c.In[0].DType)
}

func isFloat[T real]() bool {
	half := 0.5 // a variable: a constant would have to fit every type
	return T(half) != 0
}

func (numberOf[T]) binary(op string, out, a, b *onnx.Tensor, w *walk) (func() error, error) {
	f := arithmetic[T](op)
	if f == nil {
		return nil, fmt.Errorf("%s is not defined for %v", op, a.DType)
	}
	dst, x, y := onnx.Of[T](out), onnx.Of[T](a), onnx.Of[T](b)
	divides := !isFloat[T]() && (op == "Div" || op == "Mod" || op == "Fmod")
	run := zip(dst, x, y, w, f)
	if !divides {
		return run, nil
	}
	return func() error {
		for _, v := range y {
			if v == 0 {
				return fmt.Errorf("integer division by zero")
			}
		}
		return run()
	}, nil
}

func (numberOf[T]) compare(op string, out, a, b *onnx.Tensor, w *walk) (func() error, error) {
	k, ok := comparisons[op]
	if !ok {
		return nil, fmt.Errorf("%s is not defined for %v", op, a.DType)
	}
	dst, x, y := onnx.Of[bool](out), onnx.Of[T](a), onnx.Of[T](b)
	length, step := w.row()
	so, sx, sy := step[0], step[1], step[2]
	return func() error {
		for ok := w.reset(); ok; ok = w.next() {
			o, i, j := w.at[0], w.at[1], w.at[2]
			for range length {
				u, v := x[i], y[j]
				dst[o] = k.less && u < v || k.equal && u == v || k.greater && u > v
				o += so
				i += sx
				j += sy
			}
		}
		return nil
	}, nil
}

// comparisons says for each operator in which of the three cases it holds; a
// NaN is in none of them.
var comparisons = map[string]struct{ less, equal, greater bool }{
	"Equal": {equal: true}, "Less": {less: true}, "LessOrEqual": {less: true, equal: true},
	"Greater": {greater: true}, "GreaterOrEqual": {greater: true, equal: true},
}

func (numberOf[T]) unary(op string, out, in *onnx.Tensor) (func() error, error) {
	f := function[T](op)
	if f == nil {
		return nil, fmt.Errorf("%s is not defined for %v", op, in.DType)
	}
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	return func() error {
		for i, x := range src {
			dst[i] = f(x)
		}
		return nil
	}, nil
}

// zip applies f to a and b on a walk over (out, a, b).
func zip[A, R any](dst []R, x, y []A, w *walk, f func(A, A) R) func() error {
	length, step := w.row()
	so, sx, sy := step[0], step[1], step[2]
	return func() error {
		for ok := w.reset(); ok; ok = w.next() {
			o, i, j := w.at[0], w.at[1], w.at[2]
			for range length {
				dst[o] = f(x[i], y[j])
				o += so
				i += sx
				j += sy
			}
		}
		return nil
	}
}

// arithmetic returns the scalar form of a binary operator, nil if T has none.
// Integers divide towards zero; Mod takes the sign of the divisor, Fmod that
// of the dividend.
func arithmetic[T real](op string) func(a, b T) T {
	switch op {
	case "Add", "Sum", "Mean":
		return func(a, b T) T { return a + b }
	case "Sub":
		return func(a, b T) T { return a - b }
	case "Mul":
		return func(a, b T) T { return a * b }
	case "Div":
		return func(a, b T) T { return a / b }
	case "Max":
		return func(a, b T) T {
			if a > b || a != a {
				return a
			}
			return b
		}
	case "Min":
		return func(a, b T) T {
			if a < b || a != a {
				return a
			}
			return b
		}
	case "Pow":
		if !isFloat[T]() {
			return power[T]
		}
		return func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }
	case "Mod":
		if isFloat[T]() {
			return nil
		}
		return func(a, b T) T {
			r := a - a/b*b
			if r != 0 && (r < 0) != (b < 0) {
				r += b
			}
			return r
		}
	case "Fmod":
		if isFloat[T]() {
			return func(a, b T) T { return T(math.Mod(float64(a), float64(b))) }
		}
		return func(a, b T) T { return a - a/b*b }
	}
	return nil
}

// power is a to the b for integers; a negative exponent rounds towards zero.
func power[T real](a, b T) T {
	if b < 0 {
		switch {
		case a == 1:
			return 1
		case a+1 == 0 && math.Mod(float64(b), 2) == 0:
			return 1
		case a+1 == 0:
			return a
		}
		return 0
	}
	result := T(1)
	for e := uint64(b); e > 0; e >>= 1 {
		if e&1 == 1 {
			result *= a
		}
		a *= a
	}
	return result
}

// function returns the scalar form of an operator with one input, nil if T
// has none.
func function[T real](op string) func(T) T {
	switch op {
	case "Neg":
		return func(x T) T { return -x }
	case "Abs":
		return func(x T) T {
			if x < 0 {
				return -x
			}
			return x + 0 // |-0| is 0
		}
	case "Sign":
		return func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -T(1)
			}
			return x
		}
	}
	wide := map[string]func(float64) float64{
		"Floor": math.Floor, "Ceil": math.Ceil, "Round": math.RoundToEven, "Sin": math.Sin, "Cos": math.Cos,
		"Tan": math.Tan, "Asin": math.Asin, "Acos": math.Acos, "Atan": math.Atan, "Sinh": math.Sinh, "Cosh": math.Cosh,
		"Asinh": math.Asinh, "Acosh": math.Acosh, "Atanh": math.Atanh,
	}[op]
	if wide == nil || !isFloat[T]() {
		return nil
	}
	return func(x T) T { return T(wide(float64(x))) }
}
