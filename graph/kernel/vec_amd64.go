//go:build !purego

package kernel

// vecAvailable lists the implementations that this processor can run, fastest
// first; the twins alone come last.
func vecAvailable() []vecLoops {
	var all []vecLoops
	if HasAVX512 {
		all = append(all, vecAVX512)
	}
	if HasAVX2 {
		all = append(all, vecAVX2)
	}
	return append(all, vecLoops{name: "go"})
}

var vecAVX512 = vecLoops{
	name: "avx512",
	elementwise: [elementwiseLoops]func(z, x, y *float32, n int, a, b, c float32){
		loopAdd:        add_f32_avx512,
		loopSub:        sub_f32_avx512,
		loopMul:        mul_f32_avx512,
		loopDiv:        div_f32_avx512,
		loopReluGrad:   reluGrad_f32_avx512,
		loopAxpy:       axpy_f32_avx512,
		loopCombine:    combine_f32_avx512,
		loopScale:      scale_f32_avx512,
		loopShift:      shift_f32_avx512,
		loopDivBy:      divBy_f32_avx512,
		loopDivInto:    divInto_f32_avx512,
		loopAffine:     affine_f32_avx512,
		loopAffineRelu: affineRelu_f32_avx512,
		loopAtLeast:    atLeast_f32_avx512,
		loopAtMost:     atMost_f32_avx512,
		loopAbs:        abs_f32_avx512,
		loopSqrt:       sqrt_f32_avx512,
		loopExp:        exp_f32_avx512,
		loopLog:        log_f32_avx512,
		loopSigmoid:    sigmoid_f32_avx512,
		loopTanh:       tanh_f32_avx512,
		loopErf:        erf_f32_avx512,
		loopGelu:       gelu_f32_avx512,
	},
	row: [rowLoops]func(z, x, y, u *float32, n int){
		loopAddSquares:     addSquares_f32_avx512,
		loopAddDots:        addDots_f32_avx512,
		loopScaleShift:     scaleShift_f32_avx512,
		loopScaleShiftRelu: scaleShiftRelu_f32_avx512,
	},
	reduction: [reductionLoops]func(x, y *float32, n int, a float32) float32{
		loopSum:        sum_f32_avx512,
		loopSumAbs:     sumAbs_f32_avx512,
		loopSumSquares: sumSquares_f32_avx512,
		loopDot:        dot_f32_avx512,
		loopMax:        max_f32_avx512,
		loopMin:        min_f32_avx512,
		loopMaxAbs:     maxAbs_f32_avx512,
	},
	step: [stepLoops]func(w, dw, m, s, t *float32, n int, coef *float32){
		stepSgd:            sgd_f32_avx512,
		stepSgdMasked:      sgdMasked_f32_avx512,
		stepMomentum:       momentum_f32_avx512,
		stepMomentumMasked: momentumMasked_f32_avx512,
		stepNesterov:       nesterov_f32_avx512,
		stepNesterovMasked: nesterovMasked_f32_avx512,
		stepAdam:           adam_f32_avx512,
		stepAdamMasked:     adamMasked_f32_avx512,
	},
	pool2x2:    pool2x2_f32_avx512,
	poolTap:    poolTaps,
	poolBeside: poolBeside_f32_avx2,
	number:     number_avx2,
}

var vecAVX2 = vecLoops{
	name: "avx2",
	elementwise: [elementwiseLoops]func(z, x, y *float32, n int, a, b, c float32){
		loopAdd:        add_f32_avx2,
		loopSub:        sub_f32_avx2,
		loopMul:        mul_f32_avx2,
		loopDiv:        div_f32_avx2,
		loopReluGrad:   reluGrad_f32_avx2,
		loopAxpy:       axpy_f32_avx2,
		loopCombine:    combine_f32_avx2,
		loopScale:      scale_f32_avx2,
		loopShift:      shift_f32_avx2,
		loopDivBy:      divBy_f32_avx2,
		loopDivInto:    divInto_f32_avx2,
		loopAffine:     affine_f32_avx2,
		loopAffineRelu: affineRelu_f32_avx2,
		loopAtLeast:    atLeast_f32_avx2,
		loopAtMost:     atMost_f32_avx2,
		loopAbs:        abs_f32_avx2,
		loopSqrt:       sqrt_f32_avx2,
		loopExp:        exp_f32_avx2,
		loopLog:        log_f32_avx2,
		loopSigmoid:    sigmoid_f32_avx2,
		loopTanh:       tanh_f32_avx2,
		loopErf:        erf_f32_avx2,
		loopGelu:       gelu_f32_avx2,
	},
	row: [rowLoops]func(z, x, y, u *float32, n int){
		loopAddSquares:     addSquares_f32_avx2,
		loopAddDots:        addDots_f32_avx2,
		loopScaleShift:     scaleShift_f32_avx2,
		loopScaleShiftRelu: scaleShiftRelu_f32_avx2,
	},
	reduction: [reductionLoops]func(x, y *float32, n int, a float32) float32{
		loopSum:        sum_f32_avx2,
		loopSumAbs:     sumAbs_f32_avx2,
		loopSumSquares: sumSquares_f32_avx2,
		loopDot:        dot_f32_avx2,
		loopMax:        max_f32_avx2,
		loopMin:        min_f32_avx2,
		loopMaxAbs:     maxAbs_f32_avx2,
	},
	step: [stepLoops]func(w, dw, m, s, t *float32, n int, coef *float32){
		stepSgd:            sgd_f32_avx2,
		stepSgdMasked:      sgdMasked_f32_avx2,
		stepMomentum:       momentum_f32_avx2,
		stepMomentumMasked: momentumMasked_f32_avx2,
		stepNesterov:       nesterov_f32_avx2,
		stepNesterovMasked: nesterovMasked_f32_avx2,
		stepAdam:           adam_f32_avx2,
		stepAdamMasked:     adamMasked_f32_avx2,
	},
	pool2x2:    pool2x2_f32_avx2,
	poolTap:    poolTaps,
	poolBeside: poolBeside_f32_avx2,
	number:     number_avx2,
}

// poolTaps serves both instruction sets.
var poolTaps = [poolStrides]func(y *float32, index *int32, x *float32, n int, first int32){
	1: poolTap1_f32_avx2,
	2: poolTap2_f32_avx2,
}
