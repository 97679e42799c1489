package exec

import (
	"cmp"
	"slices"
	"time"

	"github.com/unprune/unprune/graph/ops"
)

// A Trace adds up the time that each node took, over the runs since it was
// switched on. Taking the times costs some of it.
type Trace struct {
	Runs  int
	Nodes []NodeTime // in execution order
}

// NodeTime is the time of one node over all runs of a trace. Op names an
// activation that the node does too: "Conv+Relu".
type NodeTime struct {
	Name, Op string
	Total    time.Duration
}

// Trace switches tracing on and returns the trace that Run adds to.
func (p *Program) Trace() *Trace {
	p.trace = &Trace{Nodes: make([]NodeTime, len(p.steps))}
	for i, s := range p.steps {
		p.trace.Nodes[i] = NodeTime{Name: s.node.Name, Op: s.label}
	}
	return p.trace
}

// Traffic is the bytes that the nodes read and write in one run: of every tensor
// once for each node that has it, whether a cache holds it or not.
func (p *Program) Traffic() int {
	total := 0
	for _, s := range p.steps {
		for _, v := range slices.Concat(s.node.Inputs, s.node.Outputs) {
			if v != nil {
				total += v.Shape.Size() * v.DType.Size()
			}
		}
	}
	return total
}

// ByOp sums the trace per operator, the most expensive first.
func (t *Trace) ByOp() []NodeTime {
	sum := map[string]time.Duration{}
	for _, n := range t.Nodes {
		sum[n.Op] += n.Total
	}
	var list []NodeTime
	for op, d := range sum {
		list = append(list, NodeTime{Op: op, Total: d})
	}
	slices.SortFunc(list, func(a, b NodeTime) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Op, b.Op))
	})
	return list
}

func (p *Program) runTraced() error {
	p.trace.Runs++
	for i := range p.steps {
		start := time.Now()
		if err := p.steps[i].run(); err != nil {
			return &ops.NodeError{Node: p.steps[i].node, Err: err}
		}
		p.trace.Nodes[i].Total += time.Since(start)
	}
	for _, c := range p.copies {
		c()
	}
	return nil
}
