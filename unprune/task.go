package unprune

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/unprune/data"
)

// Needs is a set of what an unlearner must be given.
type Needs uint

// What unlearners may need.
const (
	NeedsForget    Needs = 1 << iota // samples to forget
	NeedsRetain                      // samples to keep
	NeedsInitial                     // the weights before training
	NeedsRandom                      // random numbers: it draws more than an order
	NeedsCurvature                   // an engine that is a Curvature
)

// String lists what is needed, in words.
func (n Needs) String() string {
	var list []string
	for i, what := range []string{"samples to forget", "retained samples", "initial weights", "random numbers", "per-sample or second-order gradients"} {
		if n&(1<<i) != 0 {
			list = append(list, what)
		}
	}
	return strings.Join(list, ", ")
}

// An Unlearner changes an engine's weights so that the network forgets
// Task.Forget. Masks are the engine's: with masks set, pruned weights stay
// zero. The zero value of an implementation has its published defaults.
type Unlearner interface {
	Name() string
	Needs() Needs
	Unlearn(ctx context.Context, t *Task) error
}

// A Task is what an unlearner works on.
type Task struct {
	Engine  Engine
	Data    *data.Dataset
	Retain  []int    // rows of Data to keep
	Forget  []int    // rows of Data to forget
	Initial *Weights // theta_0, nil if unknown

	// Original is the network before forgetting began: the teacher of methods
	// that distil. Nil stands for what the engine holds at the start.
	Original *Weights

	// What the caller prescribes; zero values leave the method's defaults.
	Epochs    int
	Rate      float64
	Batch     int // of forget samples too, unless the method has its own option
	Optimizer *ops.Optimizer
	Schedule  Schedule // nil: a cosine from the rate to 0

	// Rand gives the random numbers for a purpose ("order", "labels"). Nil
	// takes samples in the order given; what must be drawn is then an error.
	Rand func(purpose string) *rand.Rand

	// Snap takes the entries of a gradient below this share of its largest one
	// for zero, where the optimizer is Adam or AdamW: they turn the rounding
	// error of a gradient that should be zero into steps of the full rate.
	// 1e-12 suits float64. 0 leaves gradients alone.
	Snap float64

	Progress Progress

	// Warning hears, in one sentence, of what is likely to be a mistake. Nil
	// listens to nothing.
	Warning func(string)
}

// Warn passes a warning on to the listener, if there is one.
func (t *Task) Warn(format string, args ...any) {
	if t.Warning != nil {
		t.Warning(fmt.Sprintf(format, args...))
	}
}

// A Progress hears how far a stage is. Nil listens to nothing.
type Progress func(stage string, done, total int)

func (p Progress) report(stage string, done, total int) {
	if p != nil {
		p(stage, done, total)
	}
}

// Report passes progress on to the listener, if there is one.
func (t *Task) Report(stage string, done, total int) { t.Progress.report(stage, done, total) }

// A Stream orders samples and draws numbers for one purpose. Without Rand it
// leaves samples in the order given.
type Stream struct{ *rand.Rand }

// Stream is the task's stream for a purpose.
func (t *Task) Stream(purpose string) Stream {
	if t.Rand == nil {
		return Stream{}
	}
	return Stream{t.Rand(purpose)}
}

// Order returns a fresh permutation of rows.
func (s Stream) Order(rows []int) []int {
	out := slices.Clone(rows)
	if s.Rand != nil {
		s.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

// Batches splits rows into runs of size, at least 1; the last may be smaller.
func Batches(rows []int, size int) [][]int {
	var out [][]int
	size = max(1, size)
	for start := 0; start < len(rows); start += size {
		out = append(out, rows[start:min(start+size, len(rows))])
	}
	return out
}
