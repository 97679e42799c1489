package kernel

//go:generate go run -C _asm/vec . -out ../../vec_f32_amd64.s -stubs ../../vec_f32_amd64.go -pkg kernel

// elementwise names a loop z[i] = f(x[i], y[i], a, b, c).
type elementwise int

const (
	loopAdd        elementwise = iota // x + y
	loopSub                           // x - y
	loopMul                           // x * y
	loopDiv                           // x / y
	loopReluGrad                      // x where y > 0, else 0
	loopAxpy                          // a*x + y
	loopCombine                       // a*x + b*y + c
	loopScale                         // a*x
	loopShift                         // x + a
	loopDivBy                         // x / a
	loopDivInto                       // a / x
	loopAffine                        // a*x + b
	loopAffineRelu                    // a*x + b where that is not negative, else 0
	loopAtLeast                       // x, but a where x < a
	loopAtMost                        // x, but a where x > a
	loopAbs
	loopSqrt
	loopExp // exp(x + a)
	loopLog
	loopSigmoid
	loopTanh
	loopErf
	loopGelu // both results of gelu: z and, written too, y
	elementwiseLoops
)

// rowLoop names a loop z[i] = f(z[i], x[i], y[i], u[i]) over vectors alone.
type rowLoop int

const (
	loopAddSquares     rowLoop = iota // z + (x-y)^2
	loopAddDots                       // z + (x-y)*u
	loopScaleShift                    // x*y + u
	loopScaleShiftRelu                // x*y + u where that is not negative, else 0
	rowLoops
)

// reduction names a loop that reduces f(x[i], y[i], a) to one number.
type reduction int

const (
	loopSum        reduction = iota // sum of x
	loopSumAbs                      // sum of |x|
	loopSumSquares                  // sum of (x-a)^2
	loopDot                         // sum of (x-a)*y
	loopMax                         // largest x; undefined when one is NaN
	loopMin                         // smallest x; undefined when one is NaN
	loopMaxAbs                      // largest |x|; NaN when one is NaN
	reductionLoops
)

// vecBlock is what assembly loops handle a multiple of; the twins do the rest.
const vecBlock = 16

// vecLoops is one implementation of the loops over float32. A nil entry means
// the Go twin.
type vecLoops struct {
	name        string
	elementwise [elementwiseLoops]func(z, x, y *float32, n int, a, b, c float32)
	row         [rowLoops]func(z, x, y, u *float32, n int)
	reduction   [reductionLoops]func(x, y *float32, n int, a float32) float32
	step        [stepLoops]func(w, dw, m, s, t *float32, n int, coef *float32)
	pool2x2     func(y *float32, index *int32, x *float32, rows, cols, width int)
	poolTap     [poolStrides]func(y *float32, index *int32, x *float32, n int, first int32)
	poolBeside  func(y *float32, index *int32, x *float32, line, images, cols int, first, width int32)
	number      func(y *int64, x *int32, n int, first int64)
}

// vecInUse is the fastest implementation of vecAvailable.
var vecInUse = vecAvailable()[0]

// asFloat32 is x if T is float32, else nil.
func asFloat32[T Float](x []T) []float32 {
	s, _ := any(x).([]float32)
	return s
}

// each runs loop k over all of z. Loops with one input ignore y, which may be nil.
// z may be x or y, but not overlap them otherwise.
func each[T Float](k elementwise, z, x, y []T, a, b, c T) {
	x = x[:len(z)]
	if y == nil {
		y = x
	}
	y = y[:len(z)]
	done := 0
	if f := vecInUse.elementwise[k]; f != nil && len(z) >= vecBlock {
		if z32 := asFloat32(z); z32 != nil {
			done = len(z) &^ (vecBlock - 1)
			f(&z32[0], &asFloat32(x)[0], &asFloat32(y)[0], done, float32(a), float32(b), float32(c))
		}
	}
	if done < len(z) {
		eachTwin(k, z[done:], x[done:], y[done:], a, b, c)
	}
}

// eachRow runs loop k over all of z. Loops without u ignore it; z may be x, y
// or u, but not overlap them otherwise.
func eachRow[T Float](k rowLoop, z, x, y, u []T) {
	if u == nil {
		u = x
	}
	x, y, u = x[:len(z)], y[:len(z)], u[:len(z)]
	done := 0
	if f := vecInUse.row[k]; f != nil && len(z) >= vecBlock {
		if z32 := asFloat32(z); z32 != nil {
			done = len(z) &^ (vecBlock - 1)
			f(&z32[0], &asFloat32(x)[0], &asFloat32(y)[0], &asFloat32(u)[0], done)
		}
	}
	if done < len(z) {
		rowTwin(k, z[done:], x[done:], y[done:], u[done:])
	}
}

// reduce runs loop k over all of x. Loops with one input ignore y, which may be nil.
func reduce[T Float](k reduction, x, y []T, a T) T {
	if y == nil {
		y = x
	}
	y = y[:len(x)]
	head := len(x) &^ (vecBlock - 1)
	acc := reductionStart[T](k)
	if head > 0 {
		if f, x32 := vecInUse.reduction[k], asFloat32(x); f != nil && x32 != nil {
			acc = T(f(&x32[0], &asFloat32(y)[0], head, float32(a)))
		} else {
			acc = reduceTwin(k, x[:head], y[:head], a)
		}
	}
	var lanes [vecBlock]T // one for each element of the tail
	tail := lanes[:len(x)-head]
	Fill(tail, reductionStart[T](k))
	accumulate(k, tail, x[head:], y[head:], a)
	for _, v := range tail {
		acc = fold(k, acc, v)
	}
	return acc
}

// Add sets z[i] = x[i] + y[i]. Here and below z may be one of the inputs.
func Add[T Float](z, x, y []T) { each(loopAdd, z, x, y, 0, 0, 0) }

// Sub sets z[i] = x[i] - y[i].
func Sub[T Float](z, x, y []T) { each(loopSub, z, x, y, 0, 0, 0) }

// Mul sets z[i] = x[i] * y[i].
func Mul[T Float](z, x, y []T) { each(loopMul, z, x, y, 0, 0, 0) }

// Div sets z[i] = x[i] / y[i].
func Div[T Float](z, x, y []T) { each(loopDiv, z, x, y, 0, 0, 0) }

// Scale sets z[i] = a*x[i].
func Scale[T Float](z []T, a T, x []T) { each(loopScale, z, x, nil, a, 0, 0) }

// Shift sets z[i] = x[i] + a.
func Shift[T Float](z, x []T, a T) { each(loopShift, z, x, nil, a, 0, 0) }

// Axpy adds a*x[i] to y[i].
func Axpy[T Float](y []T, a T, x []T) { each(loopAxpy, y, x, y, a, 0, 0) }

// Affine sets z[i] = a*x[i] + b.
func Affine[T Float](z []T, a T, x []T, b T) { each(loopAffine, z, x, nil, a, b, 0) }

// AffineRelu sets z[i] = max(0, a*x[i] + b).
func AffineRelu[T Float](z []T, a T, x []T, b T) { each(loopAffineRelu, z, x, nil, a, b, 0) }

// Combine sets z[i] = a*x[i] + b*y[i] + c.
func Combine[T Float](z []T, a T, x []T, b T, y []T, c T) { each(loopCombine, z, x, y, a, b, c) }

// Relu sets z[i] = max(0, x[i]); NaN stays NaN.
func Relu[T Float](z, x []T) { each(loopAtLeast, z, x, nil, 0, 0, 0) }

// ReluGrad sets dx[i] = dy[i] where y[i] > 0, else 0. y may be ReLU's input or
// its output.
func ReluGrad[T Float](dx, dy, y []T) { each(loopReluGrad, dx, dy, y, 0, 0, 0) }

// Clip sets z[i] to x[i], or to the nearer of low and high if it lies outside;
// NaN stays NaN.
func Clip[T Float](z, x []T, low, high T) {
	each(loopAtLeast, z, x, nil, low, 0, 0)
	each(loopAtMost, z, z, nil, high, 0, 0)
}

// Abs sets z[i] = |x[i]|.
func Abs[T Float](z, x []T) { each(loopAbs, z, x, nil, 0, 0, 0) }

// Sqrt sets z[i] to the square root of x[i].
func Sqrt[T Float](z, x []T) { each(loopSqrt, z, x, nil, 0, 0, 0) }

// Reciprocal sets z[i] = 1 / x[i].
func Reciprocal[T Float](z, x []T) { each(loopDivInto, z, x, nil, 1, 0, 0) }

// Exp sets z[i] = exp(x[i]).
func Exp[T Float](z, x []T) { each(loopExp, z, x, nil, 0, 0, 0) }

// Log sets z[i] to the natural logarithm of x[i].
func Log[T Float](z, x []T) { each(loopLog, z, x, nil, 0, 0, 0) }

// Sigmoid sets z[i] = 1 / (1 + exp(-x[i])).
func Sigmoid[T Float](z, x []T) { each(loopSigmoid, z, x, nil, 0, 0, 0) }

// Tanh sets z[i] to the hyperbolic tangent of x[i].
func Tanh[T Float](z, x []T) { each(loopTanh, z, x, nil, 0, 0, 0) }

// Erf sets z[i] to the error function of x[i].
func Erf[T Float](z, x []T) { each(loopErf, z, x, nil, 0, 0, 0) }

// Gelu sets z[i] = x[i] F(x[i]), with F the standard normal distribution, and
// slope[i] to its derivative. z or slope may be x.
func Gelu[T Float](z, slope, x []T) { each(loopGelu, z, x, slope, 0, 0, 0) }

// Sum returns the sum of x. The elements of a slice are added in 64 lanes, in
// an order that depends on the length alone.
func Sum[T Float](x []T) T { return reduce(loopSum, x, nil, 0) }

// SumAbs returns the sum of |x|.
func SumAbs[T Float](x []T) T { return reduce(loopSumAbs, x, nil, 0) }

// SumSquares returns the sum of (x-mean)^2.
func SumSquares[T Float](x []T, mean T) T { return reduce(loopSumSquares, x, nil, mean) }

// Dot returns the sum of (x-mean)*y.
func Dot[T Float](x, y []T, mean T) T { return reduce(loopDot, x, y, mean) }

// Max returns the largest element, -Inf when there is none, NaN when one is NaN.
func Max[T Float](x []T) T { return orNaN(reduce(loopMax, x, nil, 0), x) }

// Min returns the smallest element, +Inf when there is none, NaN when one is NaN.
func Min[T Float](x []T) T { return orNaN(reduce(loopMin, x, nil, 0), x) }

// MaxAbs returns the largest |x|, 0 when there is none, NaN when one is NaN.
func MaxAbs[T Float](x []T) T { return reduce(loopMaxAbs, x, nil, 0) }

// AllFinite tells whether no element is infinite or NaN.
func AllFinite[T Float](x []T) bool { return MaxAbs(x)-MaxAbs(x) == 0 }

// orNaN returns m, or NaN when x has one.
func orNaN[T Float](m T, x []T) T {
	if top := MaxAbs(x); top != top {
		return top
	}
	return m
}

// Fill sets every element of x to a.
func Fill[T any](x []T, a T) {
	for i := range x {
		x[i] = a
	}
}

// Positive sets z[i] to whether x[i] > 0.
func Positive[T Float](z []bool, x []T) {
	for i, v := range x[:len(z)] {
		z[i] = v > 0
	}
}
