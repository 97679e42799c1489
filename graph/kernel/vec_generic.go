package kernel

import "math"

// The twins of the assembly loops: what those must equal bit for bit. A product
// that is added to something is converted to T first, which keeps the compiler
// from fusing the two on processors where it could.

// eachTwin is each in plain Go.
func eachTwin[T Float](k elementwise, z, x, y []T, a, b, c T) {
	x, y = x[:len(z)], y[:len(z)]
	switch k {
	case loopAdd:
		for i, v := range x {
			z[i] = v + y[i]
		}
	case loopSub:
		for i, v := range x {
			z[i] = v - y[i]
		}
	case loopMul:
		for i, v := range x {
			z[i] = v * y[i]
		}
	case loopDiv:
		for i, v := range x {
			z[i] = v / y[i]
		}
	case loopReluGrad:
		for i, v := range x {
			if !(y[i] > 0) {
				v = 0
			}
			z[i] = v
		}
	case loopAxpy:
		for i, v := range x {
			z[i] = T(a*v) + y[i]
		}
	case loopCombine:
		for i, v := range x {
			z[i] = T(a*v) + T(b*y[i]) + c
		}
	case loopDivInto:
		for i, v := range x {
			z[i] = a / v
		}
	case loopAffineRelu:
		for i, v := range x {
			z[i] = larger(0, T(a*v)+b)
		}
	case loopGelu:
		for i, v := range x {
			z[i], y[i] = gelu(v)
		}
	default:
		mapTwin(k, z, x, a, b)
	}
}

// rowTwin is eachRow in plain Go.
func rowTwin[T Float](k rowLoop, z, x, y, u []T) {
	switch k {
	case loopAddSquares:
		for i, v := range x {
			d := v - y[i]
			z[i] += T(d * d)
		}
	case loopAddDots:
		for i, v := range x {
			z[i] += T((v - y[i]) * u[i])
		}
	case loopScaleShift:
		for i, v := range x {
			z[i] = T(v*y[i]) + u[i]
		}
	case loopScaleShiftRelu:
		for i, v := range x {
			z[i] = larger(0, T(v*y[i])+u[i])
		}
	}
}

// mapTwin has the loops with one input.
func mapTwin[T Float](k elementwise, z, x []T, a, b T) {
	switch k {
	case loopScale:
		for i, v := range x {
			z[i] = a * v
		}
	case loopShift:
		for i, v := range x {
			z[i] = v + a
		}
	case loopDivBy:
		for i, v := range x {
			z[i] = v / a
		}
	case loopAffine:
		for i, v := range x {
			z[i] = T(a*v) + b
		}
	case loopAtLeast:
		for i, v := range x {
			z[i] = larger(a, v)
		}
	case loopAtMost:
		for i, v := range x {
			z[i] = smaller(a, v)
		}
	case loopAbs:
		for i, v := range x {
			z[i] = T(math.Abs(float64(v)))
		}
	case loopSqrt:
		for i, v := range x {
			z[i] = T(math.Sqrt(float64(v)))
		}
	case loopExp:
		for i, v := range x {
			z[i] = exp(v + a)
		}
	case loopLog:
		for i, v := range x {
			z[i] = log(v)
		}
	case loopSigmoid:
		for i, v := range x {
			z[i] = sigmoid(v)
		}
	case loopTanh:
		for i, v := range x {
			z[i] = tanh(v)
		}
	case loopErf:
		for i, v := range x {
			z[i] = erf(v)
		}
	}
}

// larger returns x where x > y, else y: the rule of x86's maximum.
func larger[T Float](x, y T) T {
	if x > y {
		return x
	}
	return y
}

// smaller returns x where x < y, else y: the rule of x86's minimum.
func smaller[T Float](x, y T) T {
	if x < y {
		return x
	}
	return y
}

// longer returns the larger of two absolute values, NaN if one is.
func longer[T Float](x, y T) T {
	if x >= y || x != x {
		return x
	}
	return y
}

// reductionLanes is the number of independent accumulators of a reduction.
const reductionLanes = 4 * vecBlock

// reductionStart is the accumulator before the first element.
func reductionStart[T Float](k reduction) T {
	switch k {
	case loopMax:
		return T(math.Inf(-1))
	case loopMin:
		return T(math.Inf(1))
	}
	return 0
}

// reduceTwin is the part of reduce that assembly does: len(x) is a multiple of
// vecBlock. Whole rounds go to all lanes, what is left to the first vecBlock of
// them; then the upper half of the lanes is folded onto the lower half until
// one is left.
func reduceTwin[T Float](k reduction, x, y []T, a T) T {
	var lanes [reductionLanes]T
	Fill(lanes[:], reductionStart[T](k))
	i := 0
	for ; i+reductionLanes <= len(x); i += reductionLanes {
		accumulate(k, lanes[:], x[i:i+reductionLanes], y[i:], a)
	}
	for ; i < len(x); i += vecBlock {
		accumulate(k, lanes[:vecBlock], x[i:i+vecBlock], y[i:], a)
	}
	for half := reductionLanes / 2; half > 0; half /= 2 {
		for i, v := range lanes[half : 2*half] {
			lanes[i] = fold(k, lanes[i], v)
		}
	}
	return lanes[0]
}

// accumulate folds element i of x (and y) into lane i.
func accumulate[T Float](k reduction, lanes, x, y []T, a T) {
	lanes, y = lanes[:len(x)], y[:len(x)]
	switch k {
	case loopSum:
		for i, v := range x {
			lanes[i] += v
		}
	case loopSumAbs:
		for i, v := range x {
			lanes[i] += T(math.Abs(float64(v)))
		}
	case loopSumSquares:
		for i, v := range x {
			d := v - a
			lanes[i] += T(d * d)
		}
	case loopDot:
		for i, v := range x {
			lanes[i] += T((v - a) * y[i])
		}
	case loopMax:
		for i, v := range x {
			lanes[i] = larger(lanes[i], v)
		}
	case loopMin:
		for i, v := range x {
			lanes[i] = smaller(lanes[i], v)
		}
	case loopMaxAbs:
		for i, v := range x {
			lanes[i] = longer(lanes[i], T(math.Abs(float64(v))))
		}
	}
}

// fold joins two lanes.
func fold[T Float](k reduction, x, y T) T {
	switch k {
	case loopMax:
		return larger(x, y)
	case loopMin:
		return smaller(x, y)
	case loopMaxAbs:
		return longer(x, y)
	}
	return x + y
}
