package pass

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// whyFrozen is why a parameter that was named is not trained.
const whyFrozen = "frozen on request"

// choose trains and freezes what the options name. A pattern that names no
// parameter is an error: it is a slip of the pen.
func (im *Model) choose(o Options) error {
	for _, pattern := range o.Train {
		err := im.each(pattern, func(p *Param) error {
			if p.State() || p.Value.DType != onnx.Float32 {
				return fmt.Errorf("pass: parameter %q cannot be trained: %s", p.Name(), p.Why)
			}
			if !p.Trainable {
				p.Trainable, p.Why = true, ""
				p.Role = slotRole(p.Node, p.Slot)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, pattern := range o.Freeze {
		err := im.each(pattern, func(p *Param) error {
			if p.Trainable {
				p.Trainable, p.Why = false, whyFrozen
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f for the parameters that a pattern names.
func (im *Model) each(pattern string, f func(*Param) error) error {
	found := false
	for _, p := range im.Params {
		if !graph.MatchName(pattern, p.Name()) && !graph.MatchName(pattern, p.Label) {
			continue
		}
		found = true
		if err := f(p); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("pass: no parameter is named %q; inspect lists them", pattern)
	}
	return nil
}
