package autodiff

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
)

// Names of the inputs and outputs of a training graph, beside the model's own
// inputs. Parameters are inputs under their own names; the gradient of p is
// the output GradName(p), its value after a step pass.NewValue(p).
const (
	LabelsName = "labels"        // int64 [N]
	LossName   = "loss"          // scalar, mean over the batch
	WeightName = "loss_weight"   // scalar factor of the loss's gradient
	RateName   = "learning_rate" // scalar
	StepName   = "step_count"    // scalar, 1 for the first step (Adam)
)

// GradName is the output that holds the gradient of parameter p.
func GradName(p string) string { return p + "_grad" }

// MaskName is the input that holds p's mask, of p's shape, 1 kept, 0 pruned.
func MaskName(p string) string { return p + "_mask" }

// SlotName is optimizer state i of parameter p: SGD has one (the momentum
// buffer), Adam two (first and second moment).
func SlotName(p string, i int) string { return fmt.Sprintf("%s_state%d", p, i) }

// TrainOptions say what a training graph computes.
type TrainOptions struct {
	Logits string   // value the loss is applied to, [N classes]
	Params []string // parameters to differentiate
	State  []string // running statistics, inputs as parameters are
	Loss   Loss

	Gradients bool           // hand out the gradients
	Weighted  bool           // scale them by the input WeightName
	Optimizer *ops.Optimizer // hand out updated parameters, nil: do not
	Masked    []string       // parameters with a mask (with an optimizer)
}

// Train turns a specialised inference graph into a training graph, in place:
// the parameters become inputs, the cross-entropy of the logits with the input
// LabelsName becomes the output LossName, and gradients and updates follow as
// TrainOptions asks.
func Train(g *graph.Graph, o TrainOptions) error {
	logits, params, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return err
	}
	b := ops.NewBuilder(g)
	obj, err := o.Loss.build(b, logits, o.Weighted)
	if err != nil {
		return err
	}
	if !o.Gradients && o.Optimizer == nil {
		return nil
	}
	grads, err := gradient(b, obj.ys, obj.seeds, params)
	if err != nil {
		return err
	}
	for i, p := range params {
		if grads[i] == nil {
			return independent(p)
		}
		if err := g.Rename(grads[i], GradName(p.Name)); err != nil {
			return err
		}
		if o.Gradients {
			g.AddOutput(grads[i])
		}
	}
	if o.Optimizer != nil {
		if err := Update(g, *o.Optimizer, params, grads, o.Masked); err != nil {
			return err
		}
	}
	g.Prune()
	return nil
}

func independent(p *graph.Value) error {
	return fmt.Errorf("autodiff: the loss does not depend on parameter %q; freeze it", p.Name)
}

// begin finds the logits of an inference graph and makes inputs of its
// parameters and running statistics.
func begin(g *graph.Graph, name string, params, state []string) (logits *graph.Value, values []*graph.Value, err error) {
	logits = g.Value(name)
	if logits == nil || len(logits.Shape) != 2 {
		return nil, nil, fmt.Errorf("autodiff: the logits %q must be a value of shape [batch classes]", name)
	}
	for i, name := range slices.Concat(params, state) {
		v := g.Value(name)
		if v == nil || v.Const == nil {
			return nil, nil, fmt.Errorf("autodiff: parameter %q is no initializer of the graph", name)
		}
		g.Promote(v)
		if i < len(params) {
			values = append(values, v)
		}
	}
	g.Opsets[""] = max(g.Opsets[""], 17) // what is added speaks a version that has every operator
	return logits, values, ops.Raise(g)
}

// Update appends the optimizer's step to g: for each parameter, the outputs
// pass.NewValue(p) and the new optimizer state. The learning rate, the
// optimizer state, and the masks of the parameters in masked become inputs.
func Update(g *graph.Graph, o ops.Optimizer, params, grads []*graph.Value, masked []string) error {
	if err := o.Check(); err != nil {
		return err
	}
	if len(params) == 0 {
		return fmt.Errorf("autodiff: no parameter to update")
	}
	has := map[string]bool{}
	for _, name := range masked {
		has[name] = true
	}
	b := ops.NewBuilder(g)
	dt := params[0].DType
	scalars := []*graph.Value{g.AddInput(RateName, dt)}
	op, attrs := o.Node()
	if op == "Adam" {
		scalars = append(scalars, g.AddInput(StepName, dt))
	}
	for i, p := range params {
		in := append(append([]*graph.Value{}, scalars...), p, grads[i])
		for s := range o.Slots() {
			in = append(in, g.AddInput(SlotName(p.Name, s), dt, p.Shape...))
		}
		if op == "SGD" && o.Slots() == 0 {
			in = append(in, nil)
		}
		if has[p.Name] {
			in = append(in, g.AddInput(MaskName(p.Name), dt, p.Shape...))
		}
		out := b.Own(op, 1+o.Slots(), in, attrs...)
		if b.Err != nil {
			return b.Err
		}
		for s, v := range out {
			name := pass.NewValue(p.Name)
			if s > 0 {
				name = pass.NewValue(SlotName(p.Name, s-1))
			}
			if err := g.Rename(v, name); err != nil {
				return err
			}
			g.AddOutput(v)
		}
	}
	return nil
}
