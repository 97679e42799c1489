package main

import "github.com/mmcloughlin/avo/reg"

// The functions below are documented, with their ranges and errors, at their
// twins in kernel/vec_math.go; both follow the same steps in the same order.

func (v isa) exp(x reg.VecVirtual) reg.VecVirtual {
	x = v.larger(v.num(-104), v.smaller(v.num(89), x))
	t := v.add(v.mul(x, num(1.44269504)), num(12582912))
	n := v.subInt(t, num(12582912))
	k := v.sub(t, num(12582912))
	r := v.sub(v.sub(x, v.mul(k, num(0.693359375))), v.mul(k, num(-2.12194440e-4)))
	p := v.horner(r, []float64{0.5, 0.166665181517601, 0.04166620597243309, 0.008368917740881443, 0.001395053812302649})
	y := v.add(v.add(r, v.mul(v.mul(r, r), p)), num(1))
	half := v.shiftRight(n, 1)
	rest := v.subInt(n, half)
	y = v.mul(y, v.shiftLeft(v.addInt(half, bits(127)), 23))
	return v.mul(y, v.shiftLeft(v.addInt(rest, bits(127)), 23))
}

func (v isa) log(x reg.VecVirtual) reg.VecVirtual {
	normal := v.num(1.1754943508222875e-38)
	scaled := v.choose(x, lessThan, normal, v.mul(x, num(8388608)), x)
	ix := v.subInt(scaled, bits(0x3f3504f3))
	k := v.add(v.fromInt(v.shiftRight(ix, 23)), v.choose(x, lessThan, normal, v.num(-23), v.zero()))
	m := v.addInt(v.and(ix, bits(0x007fffff)), bits(0x3f3504f3))
	f := v.sub(m, num(1))
	p := v.horner(f, []float64{0.3333331346511841, -0.25000008940696716, 0.2000211924314499, -0.1666799634695053, 0.14219550788402557, -0.12405592203140259, 0.11888177692890167, -0.1167563870549202, 0.06746591627597809})
	ff := v.mul(f, f)
	y := v.mul(v.mul(ff, f), p)
	y = v.add(y, v.mul(k, num(-2.12194440e-4)))
	y = v.sub(y, v.mul(ff, num(0.5)))
	y = v.add(v.add(y, f), v.mul(k, num(0.693359375)))
	y = v.choose(x, lessThan, bits(0x7f800000), y, x)
	minusInf, nan := v.load(bits(0xff800000)), v.load(bits(0x7fc00000))
	return v.choose(x, greaterThan, v.zero(), y, v.choose(x, equal, v.zero(), minusInf, nan))
}

func (v isa) sigmoid(x reg.VecVirtual) reg.VecVirtual {
	e := v.exp(v.or(x, bits(0x80000000)))
	one := v.num(1)
	return v.div(v.choose(x, lessThan, v.zero(), e, one), v.add(one, e))
}

func (v isa) tanh(x reg.VecVirtual) reg.VecVirtual {
	a := v.and(x, bits(0x7fffffff))
	big := v.sub(v.num(1), v.div(v.num(2), v.add(v.exp(v.add(a, a)), num(1))))
	u := v.mul(a, a)
	p := v.horner(u, []float64{-0.3333333134651184, 0.1333320587873459, -0.05394676327705383, 0.021700700744986534, -0.008177394978702068, 0.0021429588086903095})
	small := v.add(a, v.mul(v.mul(a, u), p))
	return v.or(v.choose(a, lessThan, num(0.625), small, big), v.and(x, bits(0x80000000)))
}

func (v isa) erf(x reg.VecVirtual) reg.VecVirtual {
	a := v.smaller(v.num(4), v.and(x, bits(0x7fffffff)))
	p := v.horner(v.mul(a, a), []float64{0.1283791065216064, -0.3761262595653534, 0.1128358542919159, -0.026853810995817184, 0.00518832728266716, -0.000801019137725234, 7.853854185668752e-05})
	small := v.add(a, v.mul(a, p))
	q := v.horner(a, []float64{0.00018847017781808972, -1.1295803785324097, -0.633216381072998, -0.10842212289571762, 0.02521035447716713, -0.0042052906937897205, 0.0004414738214109093, -2.169771323679015e-05})
	big := v.sub(v.num(1), v.exp(q))
	return v.or(v.choose(a, lessThan, num(1), small, big), v.and(x, bits(0x80000000)))
}

// gelu returns x F(x) and its derivative F(x) + x f(x), with F the standard
// normal distribution and f its density.
func (v isa) gelu(x reg.VecVirtual) (y, slope reg.VecVirtual) {
	a := v.and(x, bits(0x7fffffff))
	e := v.exp(v.mul(v.mul(a, a), num(-0.5)))
	t := v.div(v.num(1), v.add(v.mul(a, num(0.3)), num(1)))
	tail := v.mul(v.mul(v.horner(t, []float64{0.11962993443012238, 0.12074325233697891, 0.09998725354671478, 0.128292977809906, -0.05312478169798851, 0.2056892067193985, -0.15678490698337555, 0.035566989332437515}), t), e)
	cdf := v.choose(x, lessThan, v.zero(), tail, v.sub(v.num(1), tail))
	return v.mul(x, cdf), v.add(cdf, v.mul(v.mul(x, e), num(0.3989422804014327)))
}
