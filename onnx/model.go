package onnx

// Model is a whole file: a graph, the operator sets it uses, and what is known
// about its origin.
type Model struct {
	IRVersion       int64 // version of the file format
	Opsets          []OpsetID
	Producer        string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Graph           *Graph
	Metadata        []StringPair
	Functions       []*Function
	Training        []*TrainingInfo

	kept    kept
	devices deviceConfigs
}

// OpsetID names an operator set and its version. The empty domain is that of
// standard ONNX ("ai.onnx" is the same).
type OpsetID struct {
	Domain  string
	Version int64

	kept kept
}

// StringPair is an entry of a list of named strings.
type StringPair struct {
	Key, Value string

	kept kept
}

// Graph is a list of nodes in topological order with the values they need.
type Graph struct {
	Name               string
	Nodes              []*Node
	Initializers       []*Tensor
	SparseInitializers []*SparseTensor
	Inputs             []*ValueInfo
	Outputs            []*ValueInfo
	ValueInfo          []*ValueInfo // types of inner values, as far as known
	Quantization       []QuantAnnotation
	Doc                string
	Metadata           []StringPair

	kept kept
}

// QuantAnnotation names the tensors that hold the quantisation parameters
// (keys such as SCALE_TENSOR) of the tensor Tensor.
type QuantAnnotation struct {
	Tensor string
	Params []StringPair

	kept kept
}

// Node applies an operator, or a function of the model, to named values.
type Node struct {
	Name     string
	OpType   string
	Domain   string // empty: standard ONNX
	Overload string
	Inputs   []string // "" stands for an optional input that is left out
	Outputs  []string // "" stands for an optional output that is left out
	Attrs    []*Attr
	Doc      string
	Metadata []StringPair

	kept    kept
	devices nodeDevices
}

// Function is an operator defined by nodes.
type Function struct {
	Name         string
	Domain       string
	Overload     string
	Inputs       []string
	Outputs      []string
	AttrNames    []string // attributes that a call must give
	AttrDefaults []*Attr  // attributes that a call may give, with their defaults
	Nodes        []*Node
	Opsets       []OpsetID
	ValueInfo    []*ValueInfo
	Doc          string
	Metadata     []StringPair

	kept kept
}

// TrainingInfo describes how to initialise and to train a model: graphs that
// compute new values, and bindings that say which initializer takes which.
type TrainingInfo struct {
	Initialization *Graph
	Algorithm      *Graph
	InitBinding    []StringPair
	UpdateBinding  []StringPair

	kept kept
}

// ValueInfo is a value's name and type.
type ValueInfo struct {
	Name     string
	Type     *Type // nil: not said
	Doc      string
	Metadata []StringPair

	kept kept
}

// Opset is the version of the operator set that m imports for domain, 0 when
// it imports none. The names "" and "ai.onnx" mean the same.
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Opsets {
		if canonicalDomain(o.Domain) == canonicalDomain(domain) {
			return o.Version
		}
	}
	return 0
}

// Initializer returns the dense initializer of that name, nil if there is none.
func (g *Graph) Initializer(name string) *Tensor {
	for _, t := range g.Initializers {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Attr returns the attribute of that name, nil if there is none.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func canonicalDomain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}
