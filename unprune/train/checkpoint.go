package train

import (
	"fmt"

	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

var _ unprune.Checkpointer = (*Engine)(nil)

// countersName is the tensor of a checkpoint that holds numbers: optimizer
// steps, dropout draws, and the cost.
const countersName = "counters"

// saved lists the tensors that a checkpoint holds, under names of its own:
// weights and running statistics, and what the optimizer remembers.
func (e *Engine) saved() map[string]*onnx.Tensor {
	list := map[string]*onnx.Tensor{}
	for i, name := range e.weights.Names {
		list[fmt.Sprintf("weights%d", i)] = e.state[name]
	}
	for i, name := range e.params {
		for slot := range e.optimizer.Slots() {
			list[fmt.Sprintf("slot%d_%d", slot, i)] = e.state[autodiff.SlotName(name, slot)]
		}
	}
	return list
}

// Checkpoint returns what the engine needs to go on from here, in its own
// memory: write it out before the next step.
func (e *Engine) Checkpoint() map[string]*onnx.Tensor {
	e.fetchSlots()
	list := e.saved()
	list[countersName] = onnx.FromSlice([]int64{int64(e.steps), int64(e.noise.draws), e.cost.Forward, e.cost.Backward, e.cost.HVP}, 5)
	return list
}

// Restore puts back the state of a checkpoint of the same network and
// optimizer. Masks and optimizer are the caller's to set before.
func (e *Engine) Restore(state map[string]*onnx.Tensor) error {
	counters := state[countersName]
	if counters == nil || counters.DType != onnx.Int64 || counters.Len() != 5 {
		return fmt.Errorf("train: the checkpoint has no counters")
	}
	e.renew()
	for name, dst := range e.saved() {
		src := state[name]
		if src == nil || src.DType != dst.DType || src.Len() != dst.Len() {
			return fmt.Errorf("train: the checkpoint is not of this network and optimizer: %q does not fit", name)
		}
		copyElements(dst, src)
	}
	c := onnx.Of[int64](counters)
	e.steps, e.noise.draws = int(c[0]), int(c[1])
	e.cost.Forward, e.cost.Backward, e.cost.HVP = c[2], c[3], c[4]
	return nil
}
