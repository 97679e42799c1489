package kernel

// flat tells whether a convolution has one result per image and channel, of all
// of the image: then it and its gradients are products of whole matrices,
//
//	y [N OutC] = x [N k] · wᵀ      with k = C*H*W
func (g *ConvGeom) flat() bool {
	return g.Group == 1 && g.OH*g.OW == 1 && g.KH == g.H && g.KW == g.W && g.PadT+g.PadL+g.PadB+g.PadR == 0
}

func newFlatConv[T Float](tl *tiling[T], g *ConvGeom, bias Bias, activation Activation) *Gemm[T] {
	return newGemm(tl, g.N, g.OutC, g.C*g.H*g.W, false, true, GemmOptions{Bias: bias, Activation: activation})
}

func newFlatGradInput[T Float](tl *tiling[T], g *ConvGeom) *Gemm[T] {
	return newGemm(tl, g.N, g.C*g.H*g.W, g.OutC, false, false, GemmOptions{})
}

func newFlatGradWeight[T Float](tl *tiling[T], g *ConvGeom) *Gemm[T] {
	return newGemm(tl, g.OutC, g.C*g.H*g.W, g.N, true, false, GemmOptions{})
}
