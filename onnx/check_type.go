package onnx

func (c *checker) valueInfo(v *ValueInfo, typed bool) {
	c.require(v.Name != "", "name is missing")
	if v.Type == nil {
		c.require(!typed, "type is missing")
		return
	}
	c.in("type", func() { c.typ(v.Type) })
}

func (c *checker) typ(t *Type) {
	kinds := 0
	for _, set := range []bool{
		t.Tensor != nil, t.SparseTensor != nil, t.Sequence != nil,
		t.Optional != nil, t.Map != nil, t.Opaque != nil,
	} {
		if set {
			kinds++
		}
	}
	c.require(kinds <= 1, "is %d types at once", kinds)
	for _, tensor := range []*TensorType{t.Tensor, t.SparseTensor} {
		if tensor != nil {
			c.tensorType(tensor)
		}
	}
	if t.Sequence != nil {
		c.elemType(t.Sequence.Elem)
	}
	if t.Optional != nil {
		c.elemType(t.Optional.Elem)
	}
	if t.Map != nil {
		c.require(t.Map.Key != Undefined, "key_type is missing")
		c.elemType(t.Map.Value)
	}
}

func (c *checker) elemType(t *Type) {
	if t == nil {
		c.require(false, "elem_type is missing")
		return
	}
	c.in("elem_type", func() { c.typ(t) })
}

func (c *checker) tensorType(t *TensorType) {
	c.require(t.Elem != Undefined, "elem_type is missing")
	for i, d := range t.Shape {
		c.require(d.Value >= 0, "shape has the extent %d on axis %d", d.Value, i)
	}
}
