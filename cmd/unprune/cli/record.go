package cli

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// A trainingRecord is what the run file of "unprune train" says of how a model
// was trained: enough to play the beginning of that training again.
type trainingRecord struct {
	path  string
	order unprune.Order
	fresh bool // theta_0 was drawn from the seed
	early int  // epoch of the early checkpoint

	flags map[string]string
	model string // whose file had theta_0, or the structure if it was drawn
}

// trainOrder names the order in which "unprune train" takes the samples.
const trainOrder = "train"

// readRecord reads the run file of "unprune train".
func readRecord(path string) (*trainingRecord, error) {
	rf, err := parseRunFile(path)
	if err != nil {
		return nil, err
	}
	t := &trainingRecord{path: path, flags: map[string]string{}}
	for name, node := range rf.Flags {
		t.flags[name] = node.Value
	}
	seed, err := strconv.ParseUint(t.flags["seed"], 10, 64)
	if rf.Command != "train" || err != nil || len(rf.Args) != 1 {
		return nil, fmt.Errorf("--order %s is not a run file of \"unprune train\"", path)
	}
	t.order = unprune.Order{Seed: seed, Name: trainOrder}
	t.model, t.fresh = rf.Args[0], t.flags["fresh"] == "true"
	t.early, _ = strconv.Atoi(t.flags["early-epochs"])
	return t, nil
}

// recorded are the flags that a run must share with the training it replays.
var recorded = []string{"epochs", "lr", "batch", "optimizer", "momentum", "nesterov", "weight-decay", "normalize"}

// adopt sets the flags of a run that were not given to what the training had,
// and refuses those that contradict it.
func (t *trainingRecord) adopt(f *pflag.FlagSet) error {
	for _, name := range recorded {
		value, ok := t.flags[name]
		if !ok {
			continue
		}
		if have := f.Lookup(name); !have.Changed {
			if err := f.Set(name, value); err != nil {
				return fmt.Errorf("--order %s: --%s: %w", t.path, name, err)
			}
		} else if !sameValue(have.Value.String(), value) {
			return usagef("--%s %s: the model was trained with %s (%s)", name, have.Value, value, t.path)
		}
	}
	files := map[string]string{"dense": t.flags["output"], "early": t.flags["early"]}
	if !t.fresh {
		files["initial"] = t.model
	}
	for name, path := range files {
		if path == "" || f.Changed(name) {
			continue
		}
		if err := f.Set(name, path); err != nil {
			return err
		}
	}
	return nil
}

// sameValue compares two settings, as numbers if they are.
func sameValue(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err1 == nil && err2 == nil {
		return x == y
	}
	return a == b
}

// drawInitial draws the initial weights of "unprune train --fresh" for the
// engine's network.
func (r *request) drawInitial(seed uint64) *unprune.Weights {
	return r.engine.Fresh(data.Stream(seed, trainOrder, "initial"))
}

// tellStorage says what has to be kept so that a later deletion can replay the
// training, and how large it is.
func (a *app) tellStorage(files map[string]string, output string) {
	whole, err := os.Stat(output)
	if err != nil {
		return
	}
	for _, what := range []string{"record", "initial weights", "early checkpoint"} {
		path := files[what]
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			continue // an embedded network
		}
		a.log.Info(fmt.Sprintf("for later deletions keep the %s, %s: %d bytes, %.2f %% of the model", what, path, info.Size(), 100*float64(info.Size())/float64(whole.Size())))
	}
}
