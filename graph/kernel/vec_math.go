package kernel

import (
	"math"
	"unsafe"
)

// Transcendental functions. In float64 they are package math's. In float32 they
// are written out, step by step like the assembly, because the two must agree
// to the bit; the polynomials are minimax fits made for this package (weighted
// for relative error, coefficients in ascending order). Errors against the
// correctly rounded result are at most 2.5 units in the last place, which
// TestTranscendental checks over the whole range.

// single tells whether T is float32.
func single[T Float]() bool { return unsafe.Sizeof(T(0)) == 4 }

func exp[T Float](x T) T {
	if single[T]() {
		return T(exp32(float32(x)))
	}
	return T(math.Exp(float64(x)))
}

func log[T Float](x T) T {
	if single[T]() {
		return T(log32(float32(x)))
	}
	return T(math.Log(float64(x)))
}

// sigmoid uses exp(-|x|), which does not overflow.
func sigmoid[T Float](x T) T {
	e := exp(T(-math.Abs(float64(x))))
	if x < 0 {
		return e / (1 + e)
	}
	return 1 / (1 + e)
}

func tanh[T Float](x T) T {
	if single[T]() {
		return T(tanh32(float32(x)))
	}
	return T(math.Tanh(float64(x)))
}

func erf[T Float](x T) T {
	if single[T]() {
		return T(erf32(float32(x)))
	}
	return T(math.Erf(float64(x)))
}

const (
	ln2High = 0.693359375    // so few bits that k*ln2High is exact
	ln2Low  = -2.12194440e-4 // ln 2 - ln2High
	rounder = 12582912       // 1.5*2^23: adding it rounds to an integer
)

var (
	expPoly = []float32{0.5, 0.166665181517601, 0.04166620597243309, 0.008368917740881443, 0.001395053812302649}
	logPoly = []float32{0.3333331346511841, -0.25000008940696716, 0.2000211924314499, -0.1666799634695053,
		0.14219550788402557, -0.12405592203140259, 0.11888177692890167, -0.1167563870549202, 0.06746591627597809}
	tanhPoly = []float32{-0.3333333134651184, 0.1333320587873459, -0.05394676327705383, 0.021700700744986534,
		-0.008177394978702068, 0.0021429588086903095}
	erfPoly = []float32{0.1283791065216064, -0.3761262595653534, 0.1128358542919159, -0.026853810995817184,
		0.00518832728266716, -0.000801019137725234, 7.853854185668752e-05}
	erfcPoly = []float32{0.00018847017781808972, -1.1295803785324097, -0.633216381072998, -0.10842212289571762,
		0.02521035447716713, -0.0042052906937897205, 0.0004414738214109093, -2.169771323679015e-05}
	normalPoly = []float32{0.11962993443012238, 0.12074325233697891, 0.09998725354671478, 0.128292977809906, -0.05312478169798851, 0.2056892067193985, -0.15678490698337555, 0.035566989332437515}
)

// horner evaluates c[0] + c[1]*x + c[2]*x^2 + ...
func horner(x float32, c []float32) float32 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = float32(p*x) + c[i]
	}
	return p
}

// exp32 writes x = k ln 2 + r with |r| <= ln(2)/2 and multiplies the polynomial
// 1 + r + r^2 P(r) by 2^k, in two steps so that subnormal results come out.
func exp32(x float32) float32 {
	x = larger(-104, smaller(89, x))
	t := float32(x*1.44269504) + rounder
	n := int32(math.Float32bits(t) - math.Float32bits(rounder))
	k := t - rounder
	r := x - float32(k*ln2High) - float32(k*ln2Low)
	y := r + float32(float32(r*r)*horner(r, expPoly)) + 1
	half := n >> 1
	y *= math.Float32frombits(uint32(half+127) << 23)
	return y * math.Float32frombits(uint32(n-half+127)<<23)
}

// log32 writes x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m-1, and evaluates
// k ln 2 + f - f^2/2 + f^3 P(f).
func log32(x float32) float32 {
	const sqrtHalf = 0x3f3504f3 // bits of sqrt(1/2)
	switch {
	case x == 0:
		return float32(math.Inf(-1))
	case !(x > 0):
		return float32(math.NaN())
	case x > math.MaxFloat32:
		return x
	}
	scaled, bias := x, float32(0)
	if x < 0x1p-126 {
		scaled, bias = x*0x1p23, -23
	}
	ix := int32(math.Float32bits(scaled)) - sqrtHalf
	k := float32(ix>>23) + bias
	f := math.Float32frombits(uint32(ix&0x007fffff+sqrtHalf)) - 1
	ff := f * f
	y := float32(ff*f) * horner(f, logPoly)
	y = float32(y) + float32(k*ln2Low) - float32(ff*0.5)
	return y + f + float32(k*ln2High)
}

// tanh32 is x + x^3 P(x^2) below 0.625 and 1 - 2/(exp(2x)+1) above.
func tanh32(x float32) float32 {
	a := float32(math.Abs(float64(x)))
	y := 1 - 2/(exp32(a+a)+1)
	if a < 0.625 {
		u := a * a
		y = a + float32(float32(a*u)*horner(u, tanhPoly))
	}
	return withSign(y, x)
}

// erf32 is x + x P(x^2) below 1 and 1 - exp(Q(x)) above, where Q is fitted to
// the logarithm of the complementary error function; erf(4) rounds to 1.
func erf32(x float32) float32 {
	a := smaller(4, float32(math.Abs(float64(x))))
	y := 1 - exp32(horner(a, erfcPoly))
	if a < 1 {
		y = a + float32(a*horner(float32(a*a), erfPoly))
	}
	return withSign(y, x)
}

// gelu returns x F(x) and its derivative F(x) + x f(x), with F the standard
// normal distribution and f its density.
func gelu[T Float](x T) (y, slope T) {
	const density0 = 0.3989422804014327 // f(0)
	if single[T]() {
		y, slope := gelu32(float32(x))
		return T(y), T(slope)
	}
	cdf := 0.5 * math.Erfc(-float64(x)/math.Sqrt2)
	density := density0 * math.Exp(-0.5*float64(x)*float64(x))
	return T(float64(x) * cdf), T(cdf + float64(x)*density)
}

// gelu32 takes F(-a) as exp(-a^2/2) t P(t) with t = 1/(1 + 0.3a): one
// exponential serves both results. The absolute error of y is at most 4e-7
// max(1, |x|), that of the slope 6e-7 (TestGelu).
func gelu32(x float32) (y, slope float32) {
	a := float32(math.Abs(float64(x)))
	e := exp32(float32(float32(a*a) * -0.5))
	t := 1 / (float32(a*0.3) + 1)
	cdf := float32(float32(horner(t, normalPoly)*t) * e)
	if !(x < 0) {
		cdf = 1 - cdf
	}
	return x * cdf, cdf + float32(float32(x*e)*0.3989422804014327)
}

// withSign gives y >= 0 the sign of x.
func withSign(y, x float32) float32 {
	return math.Float32frombits(math.Float32bits(y) | math.Float32bits(x)&(1<<31))
}
