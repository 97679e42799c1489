package unprune

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
)

// A Checkpointer is an engine whose state can be saved between two steps and
// put back, so that going on from there gives the same bits.
type Checkpointer interface {
	Checkpoint() map[string]*onnx.Tensor
	Restore(map[string]*onnx.Tensor) error
}

// A Journal keeps states of training runs by the run's name, so that a command
// that was killed can go on. What a journal does not have is computed again:
// everything is a function of the problem and its seed.
type Journal interface {
	// Load returns the last state of a run and how many epochs it had done; a
	// nil state if there is none.
	Load(run string) (epochs int, state map[string]*onnx.Tensor, err error)

	// Save is offered the state after every epoch of total; whether it is worth
	// the time is the journal's affair.
	Save(run string, epochs, total int, state func() map[string]*onnx.Tensor) error
}

// resume puts the engine where the journal has the run and returns the number
// of epochs that are done.
func (r run) resume(e Engine) (int, error) {
	c, ok := e.(Checkpointer)
	if r.journal == nil || !ok {
		return 0, nil
	}
	epochs, state, err := r.journal.Load(r.name())
	if err != nil || state == nil {
		return 0, err
	}
	if epochs > r.epochs {
		return 0, fmt.Errorf("unprune: the checkpoint of %q has %d epochs of %d", r.stage, epochs, r.epochs)
	}
	return epochs, c.Restore(state)
}

// save offers the state after an epoch to the journal.
func (r run) save(e Engine, epochs int) error {
	c, ok := e.(Checkpointer)
	if r.journal == nil || !ok {
		return nil
	}
	return r.journal.Save(r.name(), epochs, r.epochs, c.Checkpoint)
}

// name tells the runs of one command apart.
func (r run) name() string {
	return fmt.Sprintf("%s: %d epochs of %d samples less %d at %g", r.key, r.epochs, len(r.rows), len(r.drop), r.schedule(0, r.epochs))
}
