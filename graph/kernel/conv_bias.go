package kernel

// ConvGradBias is the prepared gradient of a convolution by its bias,
//
//	db[o] = sum over n, oh, ow of dy[n][o][oh][ow]
//
// summed plane by plane and then over the images in order.
type ConvGradBias[T Float] struct {
	Geom ConvGeom

	dy, db []T
	body   func(w *Worker, unit int)
}

// NewConvGradBias prepares the gradient of the convolution with geometry g.
func NewConvGradBias[T Float](g ConvGeom) *ConvGradBias[T] {
	cg := &ConvGradBias[T]{Geom: g.withDefaults()}
	cg.body = cg.unit
	return cg
}

// Run computes db.
func (cg *ConvGradBias[T]) Run(t *Team, dy, db []T) {
	need(len(dy), cg.Geom.ySize(), "dy")
	need(len(db), cg.Geom.OutC, "db")
	cg.dy, cg.db = dy, db
	t.For(cg.Geom.OutC, cg.body)
	cg.dy, cg.db = nil, nil
}

// unit sums one channel.
func (cg *ConvGradBias[T]) unit(_ *Worker, o int) {
	size := cg.Geom.OH * cg.Geom.OW
	var sum T
	for n := range cg.Geom.N {
		at := (n*cg.Geom.OutC + o) * size
		sum += Sum(cg.dy[at : at+size])
	}
	cg.db[o] = sum
}
